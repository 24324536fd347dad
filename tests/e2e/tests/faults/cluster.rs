//! A raft cluster of three whose leader is killed, frozen, sealed and stepped down while clients are at work: no client is
//! told, and none reads the past.

use crate::{
    clients::Clients,
    replica::{Options, Replica},
    world::World,
};

const PATHS: [&str; 2] = ["team/app", "team/other"];

#[test]
fn leaders_come_and_go_under_replicas_that_serve() {
    let name = "leaders_come_and_go_under_replicas_that_serve";
    let Some(mut world) = World::cluster(name) else { return };
    let replicas = ["one", "two"].map(|name| Replica::start(&world, name, Options::default()));
    for replica in &replicas {
        PATHS.iter().for_each(|path| drop(replica.serve(path)));
    }
    let server = &mut world.server;
    let clients = Clients::at_work(&replicas.each_ref(), &PATHS, |clients| {
        for fault in ["killed", "frozen", "sealed", "stepped down", "killed", "stepped down"] {
            clients.go_on(12);
            let (former, before) = (server.active(), clients.cycles());
            match fault {
                "killed" => server.kill(former),
                "frozen" => server.freeze(former),
                "sealed" => drop(server.seal()),
                _ => drop(server.step_down()),
            }
            clients.go_on(12);
            match fault {
                "killed" => server.restart(former),
                "sealed" => server.unseal(former),
                "frozen" => {
                    // It may take itself for the leader for a moment.
                    server.thaw(former);
                    clients.go_on(12);
                    // OpenBao 2.6.2 does not always come to itself again when requests were under way.
                    server.kill(former);
                    server.restart(former);
                }
                _ => {}
            }
            server.settled();
            println!("{name}: {fault}, {} cycles meanwhile", clients.cycles() - before);
        }
        clients.go_on(12);
        while clients.reads() < 1_000 {
            clients.go_on(1);
        }
    });
    println!("{name}: {} cycles, {} further reads, none stale", clients.cycles(), clients.reads());
    assert!(clients.cycles() >= 300, "{} cycles", clients.cycles());
    for (path, bytes) in clients.bodies() {
        replicas.iter().for_each(|replica| replica.has(path, &bytes));
    }
}
