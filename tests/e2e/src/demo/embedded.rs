//! The story on the embedded store: `tofustate states` shows the lock of an apply while it is held, and the state after it.

use std::{fs, path::Path};

use tofustate_e2e::{standalone::Standalone, wait};

use crate::{
    Asked, EXAMPLES, PATH, configuration,
    hands::{Backend, Hands},
    path_line, prepare, stay, step,
};

/// # Panics
/// Where something is not as it should be.
pub(crate) fn show(asked: Asked, bin: &Path) {
    let mut server = Standalone::new();
    step("tofustate standalone, on a folder with examples/state.yaml", || {
        for file in ["namespace.yaml", "state.yaml"] {
            server.manifest(file, &fs::read_to_string(Path::new(EXAMPLES).join(file)).unwrap());
        }
        server.start();
        let printed = wait::until("it prints what is to be pasted", || {
            let printed = server.printed();
            if printed.contains("export TF_HTTP_PASSWORD=") { Ok(printed) } else { Err(printed) }
        });
        println!(
            "manifests: {}\ndata: {}\n{printed}",
            server.root().join("manifests").display(),
            server.data().display()
        );
    });
    let backend = Backend {
        url: server.url(PATH),
        token_file: server.data().join("tokens").join(PATH),
        folder: configuration(bin),
    };
    let hands = Hands::find();
    if let Hands::Client(found) = &hands {
        prepare::put(bin, found);
    }
    if asked.story {
        story(&server, &hands, &backend);
    }
    if !asked.once {
        let states = format!("tofustate states --admin {}", server.admin_url());
        println!("\n== It stays up until Ctrl-C");
        println!("In another terminal:\n\n  {}\n  {states}\n{}", path_line(bin), hands.how_to(&backend));
        stay(|| server.still_runs());
    }
    step("The end", || {
        server.terminate();
        println!("The server ended well.");
    });
}

fn story(server: &Standalone, hands: &Hands, backend: &Backend) {
    // What a person sees has to say so, too.
    let show = |says: &str| {
        let table = server.states(&[]);
        println!("$ tofustate states --admin {}\n{table}", server.admin_url());
        assert!(table.contains(says), "the table does not say {says}");
    };
    step("What is served", || show(PATH));
    step(&format!("A run, by {hands}"), || {
        let mut run = hands.begin(backend);
        let lock = wait::until("the lock is listed", || {
            run.still_runs();
            let row = server.row(PATH);
            row.get("lock").cloned().ok_or_else(|| row.to_string())
        });
        let holder = lock["who"].as_str().expect("who holds it").to_owned();
        show(&holder);
        run.end();
        let row = server.row(PATH);
        assert!(row.get("lock").is_none() && row["serial"].as_u64() >= Some(1), "{row}");
        show(PATH);
        println!("Seen: the lock of {holder} while it ran, and serial {} after it.", row["serial"]);
    });
}
