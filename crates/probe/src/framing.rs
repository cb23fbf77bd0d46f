//! Where an HTTP/1 body ends.

/// What of a body is still to come, as its bytes are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Ended,
    Length(u64),
    Chunked(Chunks),
    /// It ends with the connection.
    UntilClose,
}

/// The next bytes of the input: so many of the body, or so many around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Body(usize),
    Around(usize),
}

/// That is no chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadChunk;

/// Inside of a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunks {
    next: Chunk,
    /// So many bytes may still come that mean nothing to us: zeros before a size, blanks,
    /// extensions, trailers. Without a bound they could be all that ever comes.
    spare: u16,
}

/// What is expected next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    /// The first digit of a size.
    Begin,
    Size(u64),
    /// Behind a size.
    Blank(u64),
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// After the last chunk: the end, or a trailer.
    Line,
    Trailer,
    TrailerLf,
    EndLf,
}

impl Framing {
    pub(crate) const fn length(bytes: u64) -> Self {
        if bytes == 0 { Self::Ended } else { Self::Length(bytes) }
    }

    pub(crate) const fn chunked() -> Self {
        Self::Chunked(Chunks { next: Chunk::Begin, spare: Chunks::SPARE })
    }

    /// What the first bytes of `input` are. Of an empty input, and after the end, nothing.
    pub(crate) fn next(&mut self, input: &[u8]) -> Result<Piece, BadChunk> {
        match self {
            Self::Ended => Ok(Piece::Body(0)),
            Self::UntilClose => Ok(Piece::Body(input.len())),
            Self::Length(left) => {
                let bytes = take(left, input.len());
                if *left == 0 {
                    *self = Self::Ended;
                }
                Ok(Piece::Body(bytes))
            }
            Self::Chunked(chunks) => {
                if let Chunk::Data(left) = &mut chunks.next {
                    let bytes = take(left, input.len());
                    if *left == 0 {
                        chunks.next = Chunk::DataCr;
                    }
                    return Ok(Piece::Body(bytes));
                }
                for (at, &byte) in input.iter().enumerate() {
                    if chunks.take(byte)? {
                        *self = Self::Ended;
                        return Ok(Piece::Around(at + 1));
                    }
                    if matches!(chunks.next, Chunk::Data(_)) {
                        return Ok(Piece::Around(at + 1));
                    }
                }
                Ok(Piece::Around(input.len()))
            }
        }
    }
}

/// So many of what is left as are there.
fn take(left: &mut u64, there: usize) -> usize {
    let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(there);
    *left -= bytes as u64;
    bytes
}

impl Chunks {
    const SPARE: u16 = 16 * 1024;

    /// Takes a byte that is none of the body. Whether that was the last one.
    fn take(&mut self, byte: u8) -> Result<bool, BadChunk> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        self.next = match (self.next, byte, digit) {
            (Chunk::Begin, _, Some(digit)) => Chunk::Size(digit),
            (Chunk::Size(size), _, Some(digit)) => {
                self.spend(u16::from(size == 0))?;
                Chunk::Size(size.checked_mul(16).ok_or(BadChunk)? | digit)
            }
            (Chunk::Size(size) | Chunk::Blank(size) | Chunk::Extension(size), b'\r', _) => {
                Chunk::SizeLf(size)
            }
            (Chunk::Size(size) | Chunk::Blank(size), b' ' | b'\t', _) => {
                self.spend(1)?;
                Chunk::Blank(size)
            }
            (Chunk::Size(size) | Chunk::Blank(size), b';', _) => Chunk::Extension(size),
            // Some would take a bare line feed for the end of the line, and others would not.
            (Chunk::Extension(size), _, _) if byte != b'\n' => {
                self.spend(1)?;
                Chunk::Extension(size)
            }
            (Chunk::SizeLf(0) | Chunk::TrailerLf, b'\n', _) => Chunk::Line,
            (Chunk::SizeLf(size), b'\n', _) => Chunk::Data(size),
            (Chunk::DataCr, b'\r', _) => Chunk::DataLf,
            (Chunk::DataLf, b'\n', _) => Chunk::Begin,
            (Chunk::Line, b'\r', _) => Chunk::EndLf,
            (Chunk::Trailer, b'\r', _) => Chunk::TrailerLf,
            (Chunk::Line | Chunk::Trailer, _, _) => {
                self.spend(1)?;
                Chunk::Trailer
            }
            (Chunk::EndLf, b'\n', _) => return Ok(true),
            (
                Chunk::Begin
                | Chunk::Size(_)
                | Chunk::Blank(_)
                | Chunk::Extension(_)
                | Chunk::SizeLf(_)
                | Chunk::Data(_)
                | Chunk::DataCr
                | Chunk::DataLf
                | Chunk::TrailerLf
                | Chunk::EndLf,
                _,
                _,
            ) => return Err(BadChunk),
        };
        Ok(false)
    }

    fn spend(&mut self, bytes: u16) -> Result<(), BadChunk> {
        self.spare = self.spare.checked_sub(bytes).ok_or(BadChunk)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body in `input` that comes in pieces of `step` bytes, and how many follow its end;
    /// `None` where it has not ended.
    fn read(
        mut framing: Framing,
        input: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, Option<usize>), BadChunk> {
        let (mut body, mut used) = (Vec::new(), 0);
        for piece in input.chunks(step) {
            let mut rest = piece;
            while !rest.is_empty() && framing != Framing::Ended {
                let bytes = match framing.next(rest)? {
                    Piece::Body(bytes) => {
                        body.extend_from_slice(&rest[..bytes]);
                        bytes
                    }
                    Piece::Around(bytes) => bytes,
                };
                (rest, used) = (&rest[bytes..], used + bytes);
            }
        }
        Ok((body, (framing == Framing::Ended).then_some(input.len() - used)))
    }

    // C-131
    #[test]
    fn chunks_are_joined_however_they_are_cut() {
        let input = b"4\r\nhalf\r\n01e \t;name=value\r\n 0123456789012345678901234567\r\r\n\
                      0\r\nTrailer: x\r\n\r\nnext";
        for step in 1..=input.len() {
            let (body, left) = read(Framing::chunked(), input, step).unwrap();
            assert_eq!(body, b"half 0123456789012345678901234567\r", "in {step}s");
            assert_eq!(left, Some(4), "in {step}s");
        }
    }

    // C-131
    #[test]
    fn what_is_no_chunk_is_said_to_be_none() {
        for bad in [
            &b"zz\r\n"[..],
            b"\r\n",
            b"-1\r\n",
            b"0x4\r\nhalf\r\n",
            b" 4\r\nhalf\r\n",
            b"4 4\r\nhalf\r\n",
            b"4\nhalf",
            b"4\r\nhalf4\r\n",
            b"4\r\nhalf\n",
            b"4\r\nhalf\r\r",
            b"4;x\nhalf\r\n",
            b"4\rhalf\r\n",
            b"11111111111111111\r\n",
            b"0\r\nTrailer: x\r\r",
            b"0\r\n\rx",
        ] {
            for step in [1, 3, 100] {
                let text = bad.escape_ascii();
                assert_eq!(read(Framing::chunked(), bad, step), Err(BadChunk), "{text}");
            }
        }
        let most = b"ffffffffffffffff\r\nx";
        assert_eq!(read(Framing::chunked(), most, 1), Ok((b"x".to_vec(), None)));
    }

    // C-131
    #[test]
    fn what_means_nothing_does_not_go_on_for_ever() {
        let repeat = |head: &[u8], part: &[u8]| {
            let times = 2 * usize::from(Chunks::SPARE) / part.len();
            [head, &part.repeat(times)].concat()
        };
        for endless in [
            repeat(b"", b"0"),
            repeat(b"4", b" "),
            repeat(b"4;", b"x"),
            repeat(b"0\r\n", b"x"),
            repeat(b"0\r\n", b"Trailer: x\r\n"),
            repeat(b"", b"1;xxxxxxxxxxxxxxxx\r\nb\r\n"),
        ] {
            let begin = endless[..20].escape_ascii();
            assert_eq!(read(Framing::chunked(), &endless, 1000), Err(BadChunk), "{begin}");
        }
        let (body, _) = read(Framing::chunked(), &repeat(b"", b"1\r\nb\r\n"), 1000).unwrap();
        assert!(body.len() > 2000, "small chunks are chunks");
    }

    #[test]
    fn a_length_ends_the_body_and_the_close_ends_what_has_none() {
        assert_eq!(read(Framing::length(4), b"bodynext", 3), Ok((b"body".to_vec(), Some(4))));
        assert_eq!(Framing::length(0), Framing::Ended);
        let (body, left) = read(Framing::UntilClose, b"all of it", 4).unwrap();
        assert_eq!((body.as_slice(), left), (&b"all of it"[..], None));
    }
}
