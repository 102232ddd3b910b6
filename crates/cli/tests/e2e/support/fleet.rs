//! Many devices, made by the factory's own code and put into a home without pairing: pairing has tests of its own.

use std::path::Path;
use std::sync::Arc;

use countersign_authority::{Authority as Office, AuthorityConfig, Sources};
use countersign_crypto::certificate::{Certificate, certificates_from_pem};
use countersign_crypto::policy::CompiledPolicy;
use countersign_device::data::{Blank, DataFolder, Home, PolicyAuthority};
use countersign_model::state::DeviceState;
use countersign_protocol::pairing::GatewayAddress;
use countersign_protocol::permit::device::AccessList;

use super::{Device, House};

/// Devices that are made at once: as many as a small machine has cores.
const AT_ONCE: usize = 2;

/// Makes `count` devices that know their gateway and are not switched on.
pub(crate) fn fleet(house: &House, count: usize) -> Vec<Device> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let serials: Vec<String> = (0..count).map(|number| format!("plug-{number:06}")).collect();
    let factory = house.folder().join("factory");
    let anchor = certificates_from_pem(&std::fs::read(house.roots()).unwrap()).unwrap().remove(0);
    let gateway = GatewayAddress {
        mqtt: house.mqtt.clone(),
        est: house.est.clone(),
        server_name: "localhost".to_owned(),
    };
    runtime.block_on(async {
        let office = Office::open(&house.data(), AuthorityConfig::default(), Sources::system())
            .await
            .unwrap();
        let office = Arc::new(office);
        for some in serials.chunks(AT_ONCE) {
            let made = some.iter().map(|serial| {
                let data = factory.join(serial).join("device");
                let (office, serial) = (office.clone(), serial.clone());
                let (anchor, gateway) = (anchor.clone(), gateway.clone());
                tokio::spawn(async move {
                    make(&office, &serial, &data).await;
                    settle(&data, anchor, gateway);
                })
            });
            for one in made.collect::<Vec<_>>() {
                one.await.unwrap();
            }
        }
        office.close().await;
    });
    serials.iter().map(|serial| Device::at(factory.join(serial), serial)).collect()
}

async fn make(office: &Office, serial: &str, data: &Path) {
    std::fs::create_dir_all(data.parent().unwrap()).unwrap();
    let algorithm = CompiledPolicy::built_in().signing_algorithm();
    let blank = Blank::prepare(data, serial.parse().unwrap(), algorithm).unwrap();
    let made = office.manufacture(&blank.request().unwrap()).await.unwrap();
    let policy = PolicyAuthority {
        maker: office.maker().unwrap(),
        spki_der: office.policy_verification_key().unwrap(),
        second_spki_der: office.second_policy_verification_key().await.unwrap(),
    };
    blank.provision(&made.chain, &made.roots, &made.params, &made.verifier, &policy).unwrap();
}

/// What pairing would have left.
fn settle(data: &Path, anchor: Certificate, gateway: GatewayAddress) {
    let folder = DataFolder::open(data).unwrap();
    let store = folder.store().unwrap();
    let access = AccessList::first_owner("owner".parse().unwrap());
    store
        .update(|record| {
            record.phase = DeviceState::Initialised;
            record.home = Some(Home { anchor, access, network: None, gateway: Some(gateway) });
        })
        .unwrap();
}
