//! Work that changes what its thread sees of the system: namespaces, root directory. The thread
//! is its own and ends with the work, so nothing of that is ever seen by anything else.

use std::thread;

/// Runs `work` on a thread that nothing else runs on.
pub async fn on_its_own<T, F>(work: F) -> Result<T, String>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, String> + Send + 'static,
{
    let joined = tokio::task::spawn_blocking(move || {
        let thread = thread::Builder::new().name("warren-namespace".to_owned()).spawn(work);
        match thread.map(thread::JoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err("a thread panicked".to_owned()),
            Err(error) => Err(format!("no thread could be started: {error}")),
        }
    });
    joined.await.unwrap_or_else(|_| Err("a thread panicked".to_owned()))
}
