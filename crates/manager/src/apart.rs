//! Long work, kept away from short.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

/// So many rows take milliseconds.
const LARGE: usize = 64;

/// Does long work where it keeps no reader waiting: the other tasks of this thread go on meanwhile.
/// A runtime of one thread, as in the simulation, has nowhere else to go.
pub fn apart<T>(size: usize, work: impl FnOnce() -> T) -> T {
    let elsewhere = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    if size >= LARGE && elsewhere { block_in_place(work) } else { work() }
}
