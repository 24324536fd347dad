//! Getting a tool that is not there: built with Go from the module proxy, or unpacked from a package of Debian. What lies
//! outside the repository is the result.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::scratch;

/// How a tool is got.
#[derive(Clone, Copy, Debug)]
pub enum Recipe {
    /// Built.
    Go(Go),
    /// Unpacked.
    Debian(Debian),
}

impl Recipe {
    /// Where the tool lies.
    pub fn binary(&self, name: &str) -> PathBuf {
        match self {
            Self::Go(go) => go.binary(name),
            Self::Debian(debian) => debian.binary(),
        }
    }

    /// Gets it. `version` asks the program.
    ///
    /// # Errors
    /// What it takes is not there, or fails, or the program is another version.
    pub fn get(&self, name: &str, version: impl FnOnce(&Path) -> Result<String, String>) -> Result<PathBuf, String> {
        match self {
            Self::Go(go) => go.build(name, version),
            Self::Debian(debian) => debian.unpack(),
        }
    }
}

/// A package of the Debian or Ubuntu that this is, unpacked and not installed: it needs no root, and starts no service.
#[derive(Clone, Copy, Debug)]
pub struct Debian {
    /// The package. The libraries that it depends on have to be there.
    pub package: &'static str,
    /// The program in it.
    pub program: &'static str,
}

impl Debian {
    fn folder(self) -> PathBuf {
        cache().join(format!("{}-debian", self.package))
    }

    fn binary(self) -> PathBuf {
        self.folder().join(self.program)
    }

    fn unpack(self) -> Result<PathBuf, String> {
        let part = tempfile::tempdir_in(made(&cache())?).map_err(|error| error.to_string())?;
        let run = |program: &str, args: &[&str]| match Command::new(program).args(args).current_dir(&part).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr))),
            Err(error) => Err(format!("{program} cannot be run: {error}")),
        };
        let download = || run("apt-get", &["download", "--quiet", self.package]);
        // A fresh image has no lists of packages.
        download().or_else(|fault| run("apt-get", &["update"]).and_then(|()| download()).map_err(|_| fault))?;
        run("sh", &["-c", "dpkg-deb --extract *.deb root"])?;
        match fs::rename(part.path().join("root"), self.folder()) {
            // Another was faster.
            Err(_) if self.binary().exists() => Ok(self.binary()),
            done => done.map(|()| self.binary()).map_err(|error| error.to_string()),
        }
    }
}

/// A Go module of its own in `tests/e2e/tools/<folder>` says what is built, from which versions of which modules. Whoever
/// changes more than the version removes what was built before.
#[derive(Clone, Copy, Debug)]
pub struct Go {
    /// The folder of the Go module, below `tests/e2e/tools`.
    pub folder: &'static str,
    /// The package that is built.
    pub package: &'static str,
    /// The version that the tool will say it has.
    pub version: &'static str,
    /// What the linker sets, with `{version}`, `{major}` and `{minor}` for that version and its parts.
    pub ldflags: &'static str,
}

impl Go {
    /// What the linker sets. The version stands at one place alone, which is then changed by whoever looks for new ones.
    pub fn linker(&self) -> String {
        let mut parts = self.version.split('.');
        let mut part = || parts.next().unwrap_or_default();
        let (major, minor) = (part(), part());
        self.ldflags.replace("{version}", self.version).replace("{major}", major).replace("{minor}", minor)
    }

    fn binary(&self, name: &str) -> PathBuf {
        cache().join(format!("{name}-{}", self.version)).join(name)
    }

    /// Minutes, where Go's own cache is empty.
    fn build(&self, name: &str, version: impl FnOnce(&Path) -> Result<String, String>) -> Result<PathBuf, String> {
        let binary = self.binary(name);
        // Complete when it gets its name, also where two build it at once.
        let part = binary.with_extension(format!("{}.part", std::process::id()));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(self.folder);
        eprintln!("building {name} {} with Go in {}: minutes, once", self.version, folder.display());
        let began = Instant::now();
        made(binary.parent().unwrap())?;
        let mut go = Command::new("go");
        go.current_dir(folder).env("CGO_ENABLED", "0").env("GOWORK", "off");
        go.args(["build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags"]);
        go.arg(format!("-s -w {}", self.linker())).arg("-o").arg(&part).arg(self.package);
        let built = match scratch::mark(&mut go).status() {
            Ok(status) if status.success() => version(&part),
            Ok(status) => Err(format!("go build ended with {status}")),
            Err(error) => Err(format!("go cannot be run: {error}")),
        };
        let named = match built {
            Ok(version) if version == self.version => fs::rename(&part, &binary).map_err(|error| error.to_string()),
            Ok(version) => Err(format!("the build is version {version}, not {}", self.version)),
            Err(fault) => Err(fault),
        };
        // Gone already where it got its name.
        let _ = fs::remove_file(&part);
        named.map(|()| {
            eprintln!("built {name} {} in {:.0?}: {}", self.version, began.elapsed(), binary.display());
            binary
        })
    }
}

fn made(folder: &Path) -> Result<&Path, String> {
    fs::create_dir_all(folder).map(|()| folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn cache() -> PathBuf {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || named("HOME").unwrap_or_else(env::temp_dir).join(".cache");
    named("TOFUSTATE_TOOLS").unwrap_or_else(|| named("XDG_CACHE_HOME").unwrap_or_else(home).join("tofustate-tools"))
}
