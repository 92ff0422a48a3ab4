//! Making the control socket, and taking it away again.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, listen, socket},
        stat::{Mode, fchmod},
    },
};

use super::connect;

/// Root and the socket's group.
const MODE: u32 = 0o660;

/// For a socket that is in the way to answer.
const PROBE: Duration = Duration::from_secs(1);

/// Makes the control socket at `path`, with its directory if that is missing.
///
/// A socket that nobody listens on is replaced; anything else that is in the way is left alone.
///
/// # Errors
///
/// If another agent answers there, if something else is in the way, or as the kernel says.
pub(crate) fn bind(path: &Path) -> Result<(UnixListener, SocketGuard)> {
    let address = UnixAddr::new(path)
        .with_context(|| format!("{}: not usable as the path of a socket", path.display()))
        .context("give a shorter --control-socket (at most 107 bytes)")?;
    make_directory(path)?;
    clear_the_way(path)?;
    let make = || -> io::Result<(UnixListener, SocketGuard)> {
        let fd = narrow_socket()?;
        nix::sys::socket::bind(fd.as_raw_fd(), &address)?;
        let guard = SocketGuard::of(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        listen(&fd, Backlog::new(128)?)?;
        Ok((UnixListener::from(fd), guard))
    };
    make().with_context(|| format!("cannot make the control socket {}", path.display()))
}

/// A nonblocking socket whose file will never be accessible to more than [`MODE`] allows.
///
/// `bind` gives the file the mode of the socket's own inode, less the umask (unix_bind_bsd, since Linux 2.6): so the mode is
/// set before, and what the umask took is given back after.
fn narrow_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    fchmod(&fd, Mode::from_bits_truncate(MODE))?;
    Ok(fd)
}

fn make_directory(path: &Path) -> Result<()> {
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty())
    else {
        return Ok(());
    };
    if directory.is_dir() {
        return Ok(());
    }
    let make = || -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        // Whatever the umask says, the socket's group must get through.
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
    };
    make().with_context(|| {
        format!("cannot make the directory {} of the control socket", directory.display())
    })
}

/// Removes a socket that nobody listens on.
fn clear_the_way(path: &Path) -> Result<()> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot look at {shown}")),
        Ok(found) if !found.file_type().is_socket() => {
            bail!("{shown} exists and is not a socket: remove it, or give another --control-socket")
        }
        Ok(_) => {}
    }
    match connect(path, PROBE).map_err(|error| error.raw_os_error().map(Errno::from_raw)) {
        // A full backlog (EAGAIN) has an owner too.
        Ok(_) | Err(Some(Errno::EAGAIN)) => {
            bail!("another agent listens on {shown}: stop it, or give another --control-socket")
        }
        Err(Some(Errno::ECONNREFUSED)) => {
            fs::remove_file(path).with_context(|| format!("cannot remove the stale socket {shown}"))
        }
        Err(Some(Errno::ENOENT)) => Ok(()),
        Err(Some(errno)) => bail!("{shown} is in use by something else ({})", errno.desc()),
        Err(None) => bail!("{shown} is in use by something else"),
    }
}

/// Removes the socket's file when dropped, if it is still the one that was made.
#[derive(Debug)]
#[must_use = "the socket is removed when this is dropped"]
pub(crate) struct SocketGuard {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketGuard {
    fn of(path: &Path) -> io::Result<SocketGuard> {
        let identity = identity(path)?;
        Ok(SocketGuard { path: path.to_owned(), identity })
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the control socket");
        }
    }
}

/// Device and inode, which a path may change but a file does not.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
