//! The owner: the real home of the controller, with its own authority for its people.

use countersign_controller::Home;
use countersign_crypto::certificate::{Certificate, CertificateChain};
use countersign_crypto::keystore::key_from_pem;
use countersign_crypto::secret::{Secret, Strength};
use countersign_crypto::tls::TlsIdentity;
use countersign_model::id::PersonName;
use countersign_model::time::Timestamp;
use countersign_protocol::pairing::{GatewayAddress, Installation, NetworkCredentials};
use std::path::{Path, PathBuf};

/// The key of the home's network: the canary that no recording may show.
pub const NETWORK_KEY: &[u8] = b"canary: correct horse battery";

pub struct Owner {
    home: Home,
    folder: PathBuf,
}

impl Owner {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let home = Home::create(&folder.join("home"), name.parse().unwrap()).unwrap();
        Self { home, folder: folder.to_owned() }
    }

    pub fn anchor(&self) -> &Certificate {
        self.home.anchor()
    }

    /// A certificate and key of this home for a person.
    pub fn person(&self, name: &str) -> TlsIdentity {
        let name: PersonName = name.parse().unwrap();
        if !self.home.persons().contains(&name) {
            self.home.issue_person(name.clone()).unwrap();
        }
        let out = self.folder.join("exported");
        self.home.export_person(&name, &out).unwrap();
        let file = |ending: &str| std::fs::read(out.join(format!("{name}.{ending}"))).unwrap();
        let chain = CertificateChain::from_pem(&file("crt")).unwrap();
        TlsIdentity::new(chain, key_from_pem(&file("key")).unwrap()).unwrap()
    }

    /// What this owner installs.
    pub fn installation(&self, now: Timestamp) -> Installation {
        let address = |port: u16| format!("{}:{port}", crate::maker::SERVER);
        Installation {
            anchor: self.home.anchor().der().to_vec(),
            owner: self.home.owner().clone(),
            network: Some(NetworkCredentials {
                ssid: "home".to_owned(),
                key: Secret::new(NETWORK_KEY.to_vec(), Strength(128)),
            }),
            gateway: Some(GatewayAddress {
                mqtt: address(8883),
                est: address(8443),
                server_name: crate::maker::SERVER.to_owned(),
            }),
            now,
        }
    }
}
