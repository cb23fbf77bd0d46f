//! The other end of the pulse: a process that does nothing but answer.

use std::io::{self, Read as _, Write as _};

/// Sends back each byte that it reads. Ends when whoever writes them does, however that ends: the
/// kernel closes the pipe.
pub fn echo_main() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        output.write_all(&byte)?;
        output.flush()?;
    }
}
