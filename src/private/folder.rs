//! A folder of private files, one for each resource.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tracing::warn;

use super::file::{NEW, NotPrivate, make, write};
use crate::store::Sha256Sum;

/// The most bytes of one such file.
const MOST: u64 = 64 << 10;
/// The longest name of a file.
const NAME_MAX: usize = 255;

/// A folder of files that only their owner may read, one for each resource; names of resources begin with a letter or a
/// digit.
#[derive(Clone, Debug)]
pub struct PrivateFolder {
    path: PathBuf,
    extension: &'static str,
}

impl PrivateFolder {
    /// Makes the folder where it is missing, and clears what a crash left.
    ///
    /// # Errors
    /// The disk's.
    pub fn open(path: PathBuf, extension: &'static str) -> io::Result<Self> {
        make(&path)?;
        for entry in fs::read_dir(&path)? {
            let namespace = entry?.path();
            if namespace.is_dir() {
                for file in fs::read_dir(&namespace)? {
                    let file = file?;
                    if file.file_name().as_encoded_bytes().starts_with(NEW.as_bytes()) {
                        fs::remove_file(file.path())?;
                    }
                }
            }
        }
        Ok(Self { path, extension })
    }

    /// The file of a resource. A name that is too long for a file is cut, with a sum of the whole after it.
    #[must_use]
    pub fn file(&self, namespace: &str, name: &str) -> PathBuf {
        let mut file = format!("{name}{}", self.extension);
        if file.len() > NAME_MAX {
            let sum = Sha256Sum::of(name.as_bytes()).to_string();
            let cut = name.get(..128).unwrap_or_default();
            file = format!("{cut}~{sum}{}", self.extension);
        }
        self.path.join(namespace).join(file)
    }

    /// What stands in the file of a resource, if there is one.
    ///
    /// # Errors
    /// It is another user's, or the disk's.
    pub fn read(&self, namespace: &str, name: &str) -> io::Result<Option<Vec<u8>>> {
        match read(&self.file(namespace, name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What stands in each file, of whatever resource.
    ///
    /// # Errors
    /// One is another user's, or the disk's.
    pub fn all(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        for namespace in fs::read_dir(&self.path)? {
            let namespace = namespace?.path();
            if !namespace.is_dir() {
                continue;
            }
            for file in fs::read_dir(&namespace)? {
                let file = file?;
                if file.file_type()?.is_file() {
                    all.push(read(&file.path())?);
                }
            }
        }
        Ok(all)
    }

    /// Replaces the file of a resource. It is on the disk when this returns.
    ///
    /// # Errors
    /// The disk's; the former content is still there.
    pub fn write(&self, namespace: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        write(&self.file(namespace, name), bytes)
    }

    /// Removes the file of a resource; none is as good.
    ///
    /// # Errors
    /// The disk's.
    pub fn remove(&self, namespace: &str, name: &str) -> io::Result<()> {
        match fs::remove_file(self.file(namespace, name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Reads a file that was written here, for nobody else.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let (found, user) = (file.metadata()?, rustix::process::geteuid().as_raw());
    if found.uid() != user {
        return Err(NotPrivate::Owner { file: path.to_owned(), owner: found.uid(), user }.into());
    }
    // A file that a person names is refused then. This one was written with mode 0600: who opened it is a backup that was
    // copied back, or Kubernetes, which gives the files of a volume to the Pod's fsGroup at each start. A refusal would
    // keep states from being served for that; so it is closed again.
    if found.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
        let mode = format!("{:04o}", found.mode() & 0o7777);
        warn!(file = %path.display(), mode, "others might have read or changed this file: it has mode 0600 again");
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_might_read_is_closed_and_one_of_another_user_refused() {
        let root = tempfile::tempdir().unwrap();
        let folder = PrivateFolder::open(root.path().join("tokens"), "").unwrap();
        folder.write("n", "a", b"s3cret").unwrap();
        let file = folder.file("n", "a");
        let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o7777;
        for open in [0o644, 0o660, 0o602, 0o610] {
            fs::set_permissions(&file, Permissions::from_mode(open)).unwrap();
            assert_eq!(folder.read("n", "a").unwrap(), Some(b"s3cret".to_vec()), "{open:o}");
            assert_eq!(mode(), 0o600, "{open:o}");
            fs::set_permissions(&file, Permissions::from_mode(open)).unwrap();
            assert_eq!((folder.all().unwrap().len(), mode()), (1, 0o600), "{open:o}");
        }
        fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
        assert!(folder.read("n", "a").is_ok());
        assert_eq!(mode(), 0o400, "a stricter one stays");
        // Nobody's; only root can make one.
        if std::os::unix::fs::chown(&file, Some(65_534), None).is_ok() {
            for refused in [folder.read("n", "a").map(drop), folder.all().map(drop)] {
                let said = refused.unwrap_err().to_string();
                assert!(said.contains("belongs to user 65534") && !said.contains("s3cret"), "{said}");
            }
        }
    }

    #[test]
    fn files_are_private_whole_and_found_again() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("data/tokens");
        let folder = PrivateFolder::open(at.clone(), ".json").unwrap();
        assert_eq!(folder.read("n", "a").unwrap(), None);
        let long = ["x".repeat(253), "x".repeat(252) + "y", "x".repeat(250), "a".into()];
        for (n, resource) in long.iter().enumerate() {
            folder.write("n", resource, b"old, and longer").unwrap();
            folder.write("n", resource, n.to_string().as_bytes()).unwrap();
        }
        for (n, resource) in long.iter().enumerate() {
            assert_eq!(folder.read("n", resource).unwrap(), Some(n.to_string().into_bytes()));
        }
        assert_eq!(folder.all().unwrap().len(), long.len());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&at), mode(&at.join("n")), mode(&folder.file("n", "a"))], [0o700, 0o700, 0o600]);
        assert_eq!(fs::read_dir(at.join("n")).unwrap().count(), long.len(), "nothing is left beside them");
        folder.remove("n", "a").unwrap();
        folder.remove("n", "a").unwrap();
        assert_eq!(folder.read("n", "a").unwrap(), None);

        fs::write(at.join("n/.new-1"), "").unwrap();
        PrivateFolder::open(at.clone(), ".json").unwrap();
        assert!(!at.join("n/.new-1").exists());
        fs::create_dir(folder.file("n", "b")).unwrap();
        assert!(folder.read("n", "b").is_err() && folder.write("n", "b", b"").is_err());
        assert_eq!(fs::read_dir(at.join("n")).unwrap().count(), long.len());
    }
}
