//! What every store must do, and what is OpenBao's own: long paths, the token's rights.

use tofustate_e2e::bao::{Setup, fixture};

use crate::{
    kv_conformance,
    world::{connect, dynamic, kv, run},
};

#[test]
fn does_what_every_store_must() {
    let Some(server) = Setup::default().start("does_what_every_store_must") else { return };
    let token = fixture::states(&server.api());
    run(async {
        let kv = dynamic(kv(&connect(&server), &token));
        for prefix in ["run1/", "a.b-c_d/e/f.g/h/i/"] {
            kv_conformance::all(&kv, prefix).await;
        }
    });
}
