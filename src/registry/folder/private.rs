//! Files of the data folder that only its owner may read, replaced as a whole and on the disk before it is said so.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::registry::ResourceName;
use crate::store::Sha256Sum;

/// What names of files that are being written begin with; no name of a resource does.
const NEW: &str = ".new-";
/// The most bytes of one such file.
const MOST: u64 = 64 << 10;
/// The longest name of a file.
const NAME_MAX: usize = 255;

/// A folder of such files, one for each resource.
#[derive(Clone, Debug)]
pub(super) struct PrivateFolder {
    path: PathBuf,
    extension: &'static str,
}

impl PrivateFolder {
    /// Makes the folder where it is missing, and clears what a crash left.
    pub(super) fn open(path: PathBuf, extension: &'static str) -> io::Result<Self> {
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
    pub(super) fn file(&self, resource: &ResourceName) -> PathBuf {
        let ResourceName { namespace, name } = resource;
        let mut file = format!("{name}{}", self.extension);
        if file.len() > NAME_MAX {
            let sum = Sha256Sum::of(name.as_bytes()).to_string();
            let cut = name.get(..128).unwrap_or_default();
            file = format!("{cut}~{sum}{}", self.extension);
        }
        self.path.join(namespace).join(file)
    }

    /// What stands in the file of a resource, if there is one.
    pub(super) fn read(&self, resource: &ResourceName) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.file(resource)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Replaces the file of a resource. It is on the disk when this returns.
    pub(super) fn write(&self, resource: &ResourceName, bytes: &[u8]) -> io::Result<()> {
        let target = self.file(resource);
        let folder = self.path.join(&resource.namespace);
        make(&folder)?;
        let new = folder.join(format!("{NEW}{:016x}", rand::random::<u64>()));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, &target));
        if let Err(error) = written {
            // What cannot be removed either is cleared at the next start.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        sync(&folder)
    }
}

fn make(path: &Path) -> io::Result<()> {
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_private_whole_and_found_again() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("data/tokens");
        let folder = PrivateFolder::open(at.clone(), ".json").unwrap();
        let name = |name: &str| ResourceName { namespace: "n".into(), name: name.into() };
        assert_eq!(folder.read(&name("a")).unwrap(), None);
        let long = ["x".repeat(253), "x".repeat(252) + "y", "x".repeat(250), "a".into()];
        for (n, resource) in long.iter().enumerate() {
            folder.write(&name(resource), b"old, and longer").unwrap();
            folder.write(&name(resource), n.to_string().as_bytes()).unwrap();
        }
        for (n, resource) in long.iter().enumerate() {
            assert_eq!(folder.read(&name(resource)).unwrap(), Some(n.to_string().into_bytes()));
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&at), mode(&at.join("n")), mode(&folder.file(&name("a")))], [0o700, 0o700, 0o600]);
        assert_eq!(fs::read_dir(at.join("n")).unwrap().count(), long.len(), "nothing is left beside them");

        fs::write(at.join("n/.new-1"), "").unwrap();
        PrivateFolder::open(at.clone(), ".json").unwrap();
        assert!(!at.join("n/.new-1").exists());
        fs::create_dir(folder.file(&name("b"))).unwrap();
        assert!(folder.read(&name("b")).is_err() && folder.write(&name("b"), b"").is_err());
        assert_eq!(fs::read_dir(at.join("n")).unwrap().count(), long.len() + 1);
    }
}
