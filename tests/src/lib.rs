//! Tests of the whole: see README.md here.
