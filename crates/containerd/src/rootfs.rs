//! A look into a task's root file system before the task runs: who its user is, and whether its
//! working directory is there.
//!
//! Done by a thread in a mount namespace and root directory of its own: no link of the image leads
//! out of it, and no mount outlives the thread.

use std::{
    fs,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use containerd_client::types::Mount;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::stat::Mode,
    unistd::{chdir, chroot, fchdir},
};
use warren_runtime::RuntimeError;

use crate::{
    thread::on_its_own,
    user::{self, Ids},
};

/// The kernel takes one page of mount options, its end included.
const MOUNT_OPTIONS_MAX: usize = 4095;
/// Half a second in all: a look takes microseconds.
const UNMOUNT_TRIES: u32 = 50;
const UNMOUNT_AGAIN: Duration = Duration::from_millis(10);
/// Of /etc/passwd and /etc/group. More is no list of users.
pub const USERS_MAX: u64 = 4 << 20;

/// Finds out who `user` is, and makes `workdir` where it is missing, as docker does.
pub async fn prepare(
    mounts: Vec<Mount>,
    at: PathBuf,
    user: String,
    workdir: String,
) -> Result<Ids, RuntimeError> {
    let look = move || {
        let unshared = unshare(CloneFlags::CLONE_NEWNS);
        unshared.map_err(|error| format!("no mount namespace could be made: {error}"))?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .map_err(|error| format!("mounts could not be made private: {error}"))?;
        let [layers] = mounts.as_slice() else {
            return Err("the snapshotter gives other than one mount".to_owned());
        };
        mount_snapshot(layers, &at)
            .map_err(|error| format!("its root file system could not be mounted: {error}"))?;
        let looked = inside(&at, || {
            let ids = user::resolve(&user, &read("/etc/passwd")?, &read("/etc/group")?)?;
            fs::create_dir_all(&workdir)
                .map_err(|error| format!("workdir {workdir:?} could not be made: {error}"))?;
            Ok(ids)
        });
        unmount(&at)
            .map_err(|error| format!("its root file system could not be unmounted: {error}"))?;
        looked
    };
    on_its_own(look)
        .await
        .map_err(|reason| RuntimeError::Refused(format!("cannot prepare the task: {reason}")))
}

/// Others may look at the mount in passing, by way of /proc. What is still busy after a while ends
/// with the thread.
fn unmount(at: &Path) -> nix::Result<()> {
    for _ in 0..UNMOUNT_TRIES {
        match umount2(at, MntFlags::empty()) {
            Err(Errno::EBUSY) => std::thread::sleep(UNMOUNT_AGAIN),
            done => return done,
        }
    }
    umount2(at, MntFlags::MNT_DETACH)
}

/// Runs `work` with `root` as the thread's root directory, and comes back.
fn inside<T>(root: &Path, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let outside = open("/", flags, Mode::empty()).map_err(|error| error.to_string())?;
    let enter = chroot(root).and_then(|()| chdir("/"));
    let worked = match enter {
        Ok(()) => work(),
        Err(error) => Err(format!("its root file system cannot be entered: {error}")),
    };
    fchdir(&outside).and_then(|()| chroot(".")).map_err(|error| error.to_string())?;
    worked
}

/// An absent file is an empty one. What is no file is not opened: it might never end.
fn read(path: &str) -> Result<String, String> {
    match fs::metadata(path) {
        Ok(file) if file.is_file() && file.len() <= USERS_MAX => fs::read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|error| format!("the image's {path} cannot be read: {error}")),
        Ok(_) => Err(format!("the image's {path} is not a file of at most 4 MiB")),
        Err(_) => Ok(String::new()),
    }
}

fn mount_snapshot(layers: &Mount, at: &Path) -> nix::Result<()> {
    let mut flags = MsFlags::empty();
    let mut data = Vec::new();
    for option in &layers.options {
        match option.as_str() {
            "rbind" => flags |= MsFlags::MS_BIND | MsFlags::MS_REC,
            "bind" => flags |= MsFlags::MS_BIND,
            "ro" => flags |= MsFlags::MS_RDONLY,
            "rw" => {}
            other => data.push(other.to_owned()),
        }
    }
    if data.iter().map(|option| option.len() + 1).sum::<usize>() > MOUNT_OPTIONS_MAX {
        data = shortened(data)?;
    }
    let kind = Some(layers.r#type.as_str());
    let data = Some(data.join(",")).filter(|data| !data.is_empty());
    mount(Some(layers.source.as_str()), at, kind, flags, data.as_deref())
}

/// Many layers make many paths. They go by their way from a directory that all of them are in,
/// which becomes the thread's working directory.
fn shortened(options: Vec<String>) -> nix::Result<Vec<String>> {
    let mut short = Vec::with_capacity(options.len());
    for option in options {
        let Some(layers) = option.strip_prefix("lowerdir=") else {
            short.push(option);
            continue;
        };
        let layers: Vec<&Path> = layers.split(':').map(Path::new).collect();
        let common = common_parent(&layers);
        chdir(&common)?;
        let relative = |layer: &&Path| {
            layer.strip_prefix(&common).unwrap_or(layer).to_string_lossy().into_owned()
        };
        let layers: Vec<String> = layers.iter().map(relative).collect();
        short.push(format!("lowerdir={}", layers.join(":")));
    }
    Ok(short)
}

fn common_parent(paths: &[&Path]) -> PathBuf {
    let mut common: Vec<Component<'_>> = match paths.first().and_then(|path| path.parent()) {
        Some(parent) => parent.components().collect(),
        None => return PathBuf::from("/"),
    };
    for path in paths {
        let same = common.iter().zip(path.components()).take_while(|(a, b)| **a == *b).count();
        common.truncate(same);
    }
    common.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_go_by_their_way_from_where_all_of_them_are() {
        let paths = ["/a/b/1/fs", "/a/b/22/fs", "/a/b/1/fs"].map(Path::new);
        assert_eq!(common_parent(&paths), Path::new("/a/b"));
        assert_eq!(common_parent(&[Path::new("/a/b/1/fs")]), Path::new("/a/b/1"));
    }
}
