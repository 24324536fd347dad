//! This program as our server over OpenBao, with a token for each state. It says its address, and ends with its standard
//! input.

use std::{net::TcpListener, path::Path, sync::Arc};

use tempfile::TempDir;
use tofustate::{
    openbao::{Bao, Credential, FileKeeper, Instance, Login, OpenBaoStores, alone},
    telemetry::OpenBaoMetrics,
};

use crate::{ours::ours, world::settings};

pub(crate) fn run(arguments: &[String]) {
    let [url, operator, names] = arguments else { panic!("{arguments:?}") };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    runtime.block_on(async move {
        let bao = Bao::new(settings(url), OpenBaoMetrics::default()).unwrap();
        let instance = Instance::parse("main").unwrap();
        let login = Login::new(bao.clone(), Credential::File(Path::new(operator).to_owned()), &instance).unwrap();
        let folder = TempDir::new().unwrap();
        let keeper = Arc::new(FileKeeper::open(folder.path()).unwrap());
        let stores = OpenBaoStores::new(bao, Arc::new(login), instance, keeper, alone()).unwrap();
        ours(listener, names.split(',').map(str::to_owned).collect(), &stores).await;
        stores.end().await;
    });
}
