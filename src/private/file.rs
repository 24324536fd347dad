//! One private file: written as a whole and on the disk before it is said so; read only where nobody else could.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt, MetadataExt as _, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::store::Redacted;

/// What names of files that are being written begin with.
pub(super) const NEW: &str = ".new-";
/// The most bytes of a file with a secret.
const MOST: u64 = 64 << 10;

/// Why a file with a secret is not read.
#[derive(Debug, thiserror::Error)]
pub enum NotPrivate {
    /// It cannot be read, or is not there.
    #[error("{0} cannot be read: {1}")]
    Io(PathBuf, io::Error),
    /// It is a folder, a pipe or a device.
    #[error("{0} is no file")]
    NoFile(PathBuf),
    /// Others may read or write it.
    #[error("{file} has mode {mode:04o}, so others may read or change it: chmod 600 {file}")]
    Mode {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is another user's, who can read and change it whatever its mode.
    #[error("{file} belongs to user {owner}, and this process runs as user {user}: give it a file of its own")]
    Owner {
        /// The file.
        file: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who reads it.
        user: u32,
    },
    /// It is too large, or no text.
    #[error("{0} has more than 64 KiB or is no text: is it the right file?")]
    Content(PathBuf),
}

impl From<NotPrivate> for io::Error {
    fn from(why: NotPrivate) -> Self {
        match why {
            NotPrivate::Io(_, error) => error,
            other => Self::new(io::ErrorKind::PermissionDenied, other.to_string()),
        }
    }
}

/// Reads a secret from a file of mode 0600 or stricter that this process's user owns.
///
/// # Errors
/// It is not private, or cannot be read. Nothing of its content is in the message.
pub fn read(path: &Path) -> Result<Redacted<String>, NotPrivate> {
    read_where(path, |_| false)
}

/// The same, or from one of root's that a group of this process may read and nobody but root may change: so a kubelet
/// mounts a Secret for a Pod with an `fsGroup`. Root reads every file anyway.
///
/// # Errors
/// It is not private, or cannot be read. Nothing of its content is in the message.
pub fn read_mounted(path: &Path) -> Result<Redacted<String>, NotPrivate> {
    read_where(path, |found| {
        let groups = rustix::process::getgroups().unwrap_or_default();
        let ours =
            |group| rustix::process::getegid().as_raw() == group || groups.iter().any(|our| our.as_raw() == group);
        found.uid() == 0 && found.mode() & 0o037 == 0 && ours(found.gid())
    })
}

fn read_where(path: &Path, also: impl Fn(&fs::Metadata) -> bool) -> Result<Redacted<String>, NotPrivate> {
    let fault = |error| NotPrivate::Io(path.to_owned(), error);
    // A pipe without a writer would be waited for.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(fault)?;
    let found = file.metadata().map_err(fault)?;
    let user = rustix::process::geteuid().as_raw();
    if !found.is_file() {
        return Err(NotPrivate::NoFile(path.to_owned()));
    }
    let also = also(&found);
    if found.uid() != user && !also {
        return Err(NotPrivate::Owner { file: path.to_owned(), owner: found.uid(), user });
    }
    if found.mode() & 0o077 != 0 && !also {
        return Err(NotPrivate::Mode { file: path.to_owned(), mode: found.mode() & 0o7777 });
    }
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > MOST {
        return Err(NotPrivate::Content(path.to_owned()));
    }
    String::from_utf8(bytes).map(Redacted::from).map_err(|_| NotPrivate::Content(path.to_owned()))
}

/// Replaces a file; folders that are missing are made for its owner alone. It is on the disk when this returns.
///
/// # Errors
/// The disk's; the former content is still there.
pub fn write(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    make(folder)?;
    let new = folder.join(format!("{NEW}{:016x}", rand::random::<u64>()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, target));
    if let Err(error) = written {
        // What cannot be removed either is cleared at the next start.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    sync(folder)
}

pub(super) fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let missing = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let parents: Vec<PathBuf> = missing.filter_map(Path::parent).map(Path::to_owned).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    parents.iter().try_for_each(|parent| sync(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_read_only_where_nobody_else_could() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(read(&file), Err(NotPrivate::Io(..))));
        write(&file, b"s3cret").unwrap();
        assert_eq!(read(&file).unwrap().expose(), "s3cret");
        mode(0o400);
        assert!(read(&file).is_ok());
        for open in [0o640, 0o604, 0o660, 0o602, 0o610] {
            mode(open);
            let refused = read(&file).unwrap_err();
            assert!(matches!(refused, NotPrivate::Mode { .. }), "{open:o}");
            assert!(refused.to_string().contains("chmod 600") && !refused.to_string().contains("s3cret"), "{refused}");
        }
        mode(0o600);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(read(&link).is_ok(), "what counts is the file");
        assert!(matches!(read(folder.path()), Err(NotPrivate::NoFile(_))));
        write(&file, &[0xff]).unwrap();
        assert!(matches!(read(&file), Err(NotPrivate::Content(_))));
        write(&file, &vec![b'x'; 65 << 10]).unwrap();
        assert!(matches!(read(&file), Err(NotPrivate::Content(_))));
    }

    /// Only root can make such files: elsewhere nothing is shown.
    #[test]
    fn a_mounted_secret_is_read_where_only_root_and_our_group_could() {
        use std::os::unix::fs::chown;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        write(&file, b"s3cret").unwrap();
        assert!(read_mounted(&file).is_ok(), "one's own");
        let ours = rustix::process::getegid().as_raw();
        if chown(&file, Some(0), Some(ours)).is_err() {
            return;
        }
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        for (bits, taken) in
            [(0o440, true), (0o640, true), (0o400, true), (0o444, false), (0o460, false), (0o450, false)]
        {
            mode(bits);
            assert_eq!(read_mounted(&file).is_ok(), taken, "{bits:o}");
        }
        // As the kubelet does it: what is replaced is a link to the folder.
        mode(0o440);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_mounted(&link).unwrap().expose(), "s3cret");
        assert!(matches!(read(&file), Err(NotPrivate::Mode { .. })), "no other secret is taken from such a file");
        // Of a group that is not ours others may be members; another user may change what is his.
        chown(&file, Some(0), Some(64_123)).unwrap();
        assert!(read_mounted(&file).is_err());
        chown(&file, Some(64_123), Some(ours)).unwrap();
        assert!(matches!(read_mounted(&file), Err(NotPrivate::Owner { .. })));
    }

    #[test]
    fn the_file_of_another_user_is_refused() {
        // Nobody's; only root can make one.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        write(&file, b"s3cret").unwrap();
        if std::os::unix::fs::chown(&file, Some(65_534), None).is_err() {
            return;
        }
        assert!(matches!(read(&file), Err(NotPrivate::Owner { owner: 65_534, .. })));
    }
}
