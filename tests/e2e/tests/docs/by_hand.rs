//! docs/operations.md, "A state by hand": every form that a state has in OpenBao is read without tofustate.

use std::{collections::BTreeSet, fs};

use tofustate_e2e::{
    ask::{ask, lock_info},
    bao::{Bao, Setup, openbao},
    docs::{commands, with},
    standalone::{Standalone, writer},
    tools::{JQ, OPENBAO, ZSTD},
};

use crate::shell::Shell;

/// Bytes that hardly compress, and how many versions: in the head as deltas; as one object and patches; as objects of parts.
const STATES: [(&str, usize, u64); 4] =
    [("team/app", 8_000, 6), ("team/network", 150_000, 6), ("team/huge", 1_500_000, 3), ("team/fresh", 40, 1)];

/// A state of which only a little differs from version to version.
fn body(path: &str, size: usize, version: u64) -> Vec<u8> {
    let noise = String::from_utf8(tofustate_e2e::ask::noisy_state(size as u64, size)).unwrap();
    let noise = noise.replace('"', "'");
    format!(r#"{{"version":4,"serial":{version},"lineage":"{path}","noise":"{noise}","last":"{version}"}}"#)
        .into_bytes()
}

struct World {
    server: Bao,
    shell: Shell,
    _standalone: Standalone,
}

/// All states with all their versions, and a shell of an admin's.
fn world(test: &str) -> Option<World> {
    let (zstd, jq, bao) = (ZSTD.for_test(test)?, JQ.for_test(test)?, OPENBAO.for_test(test)?);
    let server = Setup::default().start(test)?;
    let mut standalone = Standalone::on(&server, "prod", &server.bootstrap("prod", &[]));
    STATES.iter().for_each(|(path, ..)| standalone.register(path, ""));
    standalone.register("team/never", "");
    standalone.start();
    for (path, size, versions) in STATES {
        let asks = |method: &str, query: &str, body: Vec<u8>| {
            ask(method, &format!("{}{query}", standalone.url(path))).token(&writer(path)).body(body).send().is(200);
        };
        for version in 1..=versions {
            let lock = format!("run-{version}");
            asks("LOCK", "", lock_info(&lock).into_bytes());
            asks("POST", &format!("?ID={lock}"), body(path, size, version));
            asks("UNLOCK", "", lock_info(&lock).into_bytes());
        }
    }
    let mut shell = Shell::new(&[&zstd, &jq, &bao]);
    let root = fs::read_to_string(server.root_token_file()).unwrap();
    shell.env("BAO_ADDR", &server.url(0)).env("BAO_TOKEN", root.trim());
    Some(World { server, shell, _standalone: standalone })
}

/// Reads every version of every state with the page's script, and gives the forms that there were.
fn read_all(shell: &Shell, script: &str) -> BTreeSet<String> {
    // What the script found is said, too.
    let telling = with(script, &[("\ncat \"$at/state\"\n", "\nkind \"$at_line\" >&2\ncat \"$at/state\"\n")]);
    shell.paste(&telling);
    let at = |file: &str| shell.at().join(file);
    assert_eq!(fs::read(at("app.tfstate")).unwrap(), body("team/app", 8_000, 6), "what the page itself reads");
    let mut kinds = BTreeSet::new();
    for (path, size, versions) in STATES {
        for version in 1..=versions {
            shell.paste(&format!("sh state.sh {path} {version} > read 2> kind"));
            assert!(fs::read(at("read")).unwrap() == body(path, size, version), "version {version} of {path}");
            kinds.insert(fs::read_to_string(at("kind")).unwrap().trim().to_owned());
        }
        shell.paste(&format!("sh state.sh {path} > read"));
        assert!(fs::read(at("read")).unwrap() == body(path, size, versions), "the current one of {path}");
    }
    let none = shell.fails("sh state.sh team/never");
    assert!(none.contains("never written"), "{none}");
    let none = shell.fails("sh state.sh team/app 77");
    assert!(none.contains("no version '77'") && none.contains("kept are: 1 2 3 4 5 6"), "{none}");
    kinds
}

const FORMS: [&str; 4] = ["delta", "inline", "object", "patch"];

#[test]
fn every_form_of_a_state_is_read_with_bao() {
    let test = "every_form_of_a_state_is_read_with_bao";
    if openbao(test).is_none() {
        return;
    }
    let Some(World { shell, server: _server, _standalone }) = world(test) else { return };
    let kinds = read_all(&shell, &commands("operations.md", "by-hand"));
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), FORMS);

    let paths = shell.paste(&commands("operations.md", "by-hand-paths"));
    let mut paths: Vec<&str> = paths.lines().collect();
    paths.sort_unstable();
    assert_eq!(paths, ["team/app", "team/fresh", "team/huge", "team/network", "team/never"]);

    let small = commands("operations.md", "by-hand-small");
    shell.paste(&small);
    assert_eq!(fs::read(shell.at().join("app.tfstate")).unwrap(), body("team/app", 8_000, 6));
    // A head of less than 4 KiB is not packed.
    shell.paste(&with(&small, &[("team/app", "team/fresh")]));
    assert_eq!(fs::read(shell.at().join("app.tfstate")).unwrap(), body("team/fresh", 40, 1));
    let entry = fs::read_to_string(shell.at().join("entry.json")).unwrap();
    assert!(entry.contains("\"document\""), "{entry}");

    // A part that is damaged is not passed off as the state.
    let wrong = with(
        &commands("operations.md", "by-hand"),
        &[("$(of \"$at_line\" .sha256)", "$(of \"$at_line\" .sha256 | tr 0-9 1-90)")],
    );
    assert!(shell.fails(&wrong).contains("WARNING"), "the sum is looked at");
}

#[test]
fn every_form_of_a_state_is_read_with_curl() {
    let test = "every_form_of_a_state_is_read_with_curl";
    let Some(World { shell, server: _server, _standalone }) = world(test) else { return };
    let script = commands("operations.md", "by-hand");
    let by_bao = script.lines().find(|line| line.starts_with("entry()")).expect("the function that reads an entry");
    let kinds = read_all(&shell, &with(&script, &[(by_bao, commands("operations.md", "by-hand-curl").trim_end())]));
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), FORMS);
}
