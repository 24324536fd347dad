//! What happens to a running cluster: its programs end, freeze and come back, on the same ports and with the same data.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;

use super::{Cluster, server::Server};

/// A program of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The store.
    Etcd,
    /// What clients talk to.
    ApiServer,
    /// kube-controller-manager.
    Controllers,
}

impl Cluster {
    /// `kill -9`.
    pub fn kill(&mut self, part: Part) {
        self.part(part).kill();
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self, part: Part) {
        self.part(part).stop();
    }

    /// Starts what was killed or stopped, and waits until all works again, if the rest of it runs.
    pub fn restart(&mut self, part: Part) {
        self.part(part).start();
        if self.etcd.runs() && self.apiserver.runs() {
            self.ready();
            if part == Part::Controllers {
                self.controllers_ready();
            }
        }
    }

    /// Takes a backup of all that is in it, with etcd stopped for it.
    pub fn backup(&mut self) -> PathBuf {
        let backup = self.folder().join("etcd-backup");
        self.stop(Part::Etcd);
        copy(&self.folder().join("etcd"), &backup);
        self.restart(Part::Etcd);
        backup
    }

    /// Sets it back to a backup, as `etcdutl snapshot restore` without `--bump-revision` does.
    pub fn restore(&mut self, backup: &Path) {
        self.kill(Part::ApiServer);
        self.kill(Part::Etcd);
        let data = self.folder().join("etcd");
        fs::remove_dir_all(&data).unwrap();
        copy(backup, &data);
        self.restart(Part::Etcd);
        self.restart(Part::ApiServer);
    }

    /// SIGSTOP: it keeps its connections and answers nobody.
    pub fn freeze(&mut self, part: Part) {
        self.part(part).signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&mut self, part: Part) {
        self.part(part).signal(Signal::CONT);
    }

    /// What the programs said last, for a failure's message.
    pub fn tail(&self) -> String {
        [Some(&self.etcd), Some(&self.apiserver), self.controllers.as_ref()]
            .into_iter()
            .flatten()
            .map(Server::tail)
            .collect()
    }

    fn part(&mut self, part: Part) -> &mut Server {
        match part {
            Part::Etcd => &mut self.etcd,
            Part::ApiServer => &mut self.apiserver,
            Part::Controllers => self.controllers.as_mut().expect("it is set up with controllers"),
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success(), "cp: {done}");
}
