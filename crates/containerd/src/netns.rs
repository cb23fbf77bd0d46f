//! Network namespaces that live as files, so that a task's is there before the task, can be
//! entered by checks, and outlives the worker. A reboot ends them; then the file is an empty one.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
            socket,
        },
        statfs::{NSFS_MAGIC, statfs},
    },
};
use warren_runtime::RuntimeError;

use crate::thread::on_its_own;

/// Makes a network namespace with nothing but loopback, which is up. Says whether it had to.
pub async fn make(path: PathBuf) -> Result<bool, RuntimeError> {
    if exists(&path) {
        return Ok(false);
    }
    let shown = path.display().to_string();
    let work = move || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| error.to_string())?;
        }
        fs::write(&path, "").map_err(|error| error.to_string())?;
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string())?;
        raise_loopback().map_err(|error| format!("loopback stays down: {error}"))?;
        let own = Some("/proc/thread-self/ns/net");
        mount(own, &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|error| error.to_string())?;
        Ok(true)
    };
    on_its_own(work).await.map_err(|reason| {
        RuntimeError::Refused(format!("cannot make a network namespace at {shown}: {reason}"))
    })
}

/// Whether there is a namespace behind the file.
pub fn exists(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC)
}

/// The namespace itself ends with the last process in it.
pub fn remove(path: &Path) -> io::Result<()> {
    loop {
        match umount2(path, MntFlags::MNT_DETACH) {
            Ok(()) => {}
            // Nothing is mounted there, or there is no such file.
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(error) => return Err(error.into()),
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Loopback's address, which needs no interface of its own.
pub const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Asks the kernel to set interface 1, which is loopback in every namespace, up.
fn raise_loopback() -> nix::Result<()> {
    let kernel = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let address = NetlinkAddr::new(0, 0);
    sendto(kernel.as_raw_fd(), &set_loopback_up(), &address, MsgFlags::empty())?;
    let mut answer = [0; 1024];
    let length = recv(kernel.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // struct nlmsgerr follows the header: the negative errno first, 0 when it was done.
    match answer[..length].get(16..20).and_then(|code| code.try_into().ok()) {
        Some(code) => match i32::from_ne_bytes(code) {
            0 => Ok(()),
            code => Err(Errno::from_raw(-code)),
        },
        None => Err(Errno::EPROTO),
    }
}

/// struct nlmsghdr and struct ifinfomsg of linux/rtnetlink.h.
fn set_loopback_up() -> Vec<u8> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    let mut message = Vec::with_capacity(32);
    message.extend_from_slice(&32_u32.to_ne_bytes());
    message.extend_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST_ACK.to_ne_bytes());
    message.extend_from_slice(&1_u32.to_ne_bytes()); // sequence
    message.extend_from_slice(&0_u32.to_ne_bytes()); // sender
    message.extend_from_slice(&[0; 4]); // family and type: any
    message.extend_from_slice(&1_i32.to_ne_bytes()); // interface
    message.extend_from_slice(&IFF_UP.to_ne_bytes()); // what to set
    message.extend_from_slice(&IFF_UP.to_ne_bytes()); // of these
    message
}
