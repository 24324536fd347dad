//! Which stack is shown: that of a cluster, or the embedded one, which takes Rust alone.

use tofustate_e2e::tools::{self, ETCD, KUBE_APISERVER, KUBECTL, OPENBAO, OPENTOFU, Tool};

/// What the stack of a cluster takes.
pub(crate) const FULL: [Tool; 5] = [ETCD, KUBE_APISERVER, KUBECTL, OPENBAO, OPENTOFU];

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    /// An API server, OpenBao and the operator.
    Full,
    /// `tofustate standalone` with its own database.
    Embedded,
}

/// Chooses, and says in a line what is run and why.
///
/// # Errors
/// What is asked for cannot be: all that is missing, and the remedies.
pub(crate) fn choose(asked: Option<&str>) -> Result<Stack, String> {
    let missing: Vec<(Tool, String)> =
        FULL.into_iter().filter_map(|tool| tool.find().err().map(|why| (tool, why))).collect();
    let names = missing.iter().map(|(tool, _)| tool.name).collect::<Vec<_>>().join(", ");
    let (stack, why) = match (asked.unwrap_or_default(), tools::go()) {
        ("embedded", _) => (Stack::Embedded, "STACK says so".to_owned()),
        ("full" | "", _) if missing.is_empty() => (Stack::Full, "all the programs for it are here".to_owned()),
        ("full" | "", Ok(go)) => (Stack::Full, format!("Go {go} is here and builds what is missing, once: {names}")),
        ("", Err(go)) => (Stack::Embedded, format!("{go}, and the other stack needs it to build {names}")),
        ("full", Err(go)) => return Err(refusal(&missing, &go)),
        (other, _) => return Err(format!("STACK={other} is neither full nor embedded")),
    };
    let what = match stack {
        Stack::Full => "full (Kubernetes' API server, OpenBao, the operator)",
        Stack::Embedded => "embedded (tofustate standalone, with its own database and a folder of manifests)",
    };
    println!("The stack is {what}: {why}.");
    Ok(stack)
}

fn refusal(missing: &[(Tool, String)], go: &str) -> String {
    let lines: String = missing.iter().map(|(tool, why)| format!("  {}: {why}\n", tool.name)).collect();
    format!(
        "STACK=full takes programs that are missing:\n{lines}  go, which would build them: {go}\n\
         What helps: install Go 1.21 or newer (https://go.dev/doc/install), which builds all of them once; or put them on \
         the PATH, or name each by its variable; or STACK=embedded, which takes Rust alone."
    )
}
