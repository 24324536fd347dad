//! Building a tool with Go from the module proxy. What is built, and from which versions of which modules, is a module of
//! its own in `tests/e2e/tools/<folder>`; the result lies outside the repository.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// How a tool is built. Whoever changes more than the version removes what was built before.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// The folder of the Go module, below `tests/e2e/tools`.
    pub folder: &'static str,
    /// The package that is built.
    pub package: &'static str,
    /// The version that the tool will say it has.
    pub version: &'static str,
    /// What the linker sets.
    pub ldflags: &'static str,
}

impl Recipe {
    /// Where the built tool lies.
    pub fn binary(&self, name: &str) -> PathBuf {
        cache().join(format!("{name}-{}", self.version)).join(name)
    }

    /// Builds it; minutes, where Go's own cache is empty. `version` asks the built program.
    ///
    /// # Errors
    /// Go is not there, or fails, or the program is another version.
    pub fn build(&self, name: &str, version: impl FnOnce(&Path) -> Result<String, String>) -> Result<PathBuf, String> {
        let binary = self.binary(name);
        // Complete when it gets its name, also where two build it at once.
        let part = binary.with_extension(format!("{}.part", std::process::id()));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(self.folder);
        eprintln!(
            "building {name} {} with Go in {}: the first time this takes minutes",
            self.version,
            folder.display()
        );
        fs::create_dir_all(binary.parent().unwrap()).map_err(|error| format!("{}: {error}", binary.display()))?;
        let mut go = Command::new("go");
        go.current_dir(folder).env("CGO_ENABLED", "0").env("GOWORK", "off");
        go.args(["build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags"]);
        go.arg(format!("-s -w {}", self.ldflags)).arg("-o").arg(&part).arg(self.package);
        let built = match go.status() {
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
        named.map(|()| binary)
    }
}

fn cache() -> PathBuf {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || named("HOME").unwrap_or_else(env::temp_dir).join(".cache");
    named("TOFUSTATE_TOOLS").unwrap_or_else(|| named("XDG_CACHE_HOME").unwrap_or_else(home).join("tofustate-tools"))
}
