//! A home's folder.
//!
//! ```text
//!  DIR/seal.key          seals the keys (0600)
//!  DIR/keys/             home.key, person-NAME.key, sealed
//!  DIR/home.crt          the home's trust anchor
//!  DIR/persons/NAME.crt  certificates of the home's people
//!  DIR/things/ID.json    paired things;  ID.roots.pem: their maker's roots;  ID.history: the end of its record, as seen last
//!                        ID.description, ID.people: for completion in a shell
//! ```

use crate::certify;
use crate::error::ControlError;
use countersign_crypto::certificate::{Certificate, CertificateChain, certificates_from_pem};
use countersign_crypto::file;
use countersign_crypto::keystore::{Keystore, exportable_key};
use countersign_crypto::policy::CompiledPolicy;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::seal::SealKey;
use countersign_crypto::tls::TlsIdentity;
use countersign_model::id::{PersonName, ThingId};
use countersign_model::time::Timestamp;
use countersign_protocol::discovery::ThingKey;
use countersign_protocol::journal::Head;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Label of the home's CA key.
const HOME_KEY: &str = "home";

/// A home.
#[derive(Debug)]
pub struct Home {
    folder: PathBuf,
    keys: Keystore,
    anchor: Certificate,
    owner: PersonName,
    policy: CompiledPolicy,
}

/// A device that belongs to the home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedThing {
    /// Its id.
    pub thing: ThingId,
    /// Where its local API was when it was paired.
    pub address: SocketAddr,
    /// When.
    pub paired_at: Timestamp,
    /// SHA-256 of its Thing Description, in hexadecimal.
    pub description_sha256: String,
    /// Whom it knows us as, where we joined by invitation; none: as the home's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonName>,
    /// What recognises it on the network, as it told who joined; none: the home's anchor does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<ThingKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HomeFile {
    owner: PersonName,
}

impl Home {
    /// Makes a home with its first owner.
    ///
    /// # Errors
    /// [`ControlError::Exists`] when the folder holds one.
    pub fn create(folder: &Path, owner: PersonName) -> Result<Self, ControlError> {
        if folder.join("home.json").exists() {
            return Err(ControlError::Exists(folder.to_owned()));
        }
        for part in ["", "persons", "things"] {
            let part = folder.join(part);
            file::private_folder(&part).map_err(|error| ControlError::File(part, error))?;
        }
        let policy = CompiledPolicy::built_in();
        let seal = SealKey::load_or_create(&folder.join("seal.key"), &mut SystemRandom)?;
        let keys = Keystore::open(&folder.join("keys"), seal)?;
        let key = match keys.load(HOME_KEY)? {
            Some(key) => key,
            None => keys.generate(HOME_KEY, policy.signing_algorithm())?,
        };
        let anchor = certify::anchor(&key)?;
        write(&folder.join("home.crt"), anchor.to_pem().as_bytes(), file::PUBLIC)?;
        let home = Self { folder: folder.to_owned(), keys, anchor, owner: owner.clone(), policy };
        home.issue_person(owner.clone())?;
        // Last: a folder that has it is whole.
        let text = serde_json::json!(HomeFile { owner }).to_string();
        write(&folder.join("home.json"), text.as_bytes(), file::PRIVATE)?;
        Ok(home)
    }

    /// Opens a home.
    ///
    /// # Errors
    /// [`ControlError::File`] when there is none; [`ControlError::Damaged`].
    pub fn open(folder: &Path) -> Result<Self, ControlError> {
        let about: HomeFile = read_json(&folder.join("home.json"))?;
        let keys = Keystore::open(&folder.join("keys"), SealKey::load(&folder.join("seal.key"))?)?;
        let path = folder.join("home.crt");
        let anchor = CertificateChain::from_pem(&read(&path)?)
            .map_err(|error| ControlError::Damaged(path, error.to_string()))?;
        let anchor = anchor.leaf().clone();
        let policy = CompiledPolicy::built_in();
        Ok(Self { folder: folder.to_owned(), keys, anchor, owner: about.owner, policy })
    }

    /// The home's trust anchor.
    #[must_use]
    pub const fn anchor(&self) -> &Certificate {
        &self.anchor
    }

    /// Who made the home, and becomes the first owner of each device.
    #[must_use]
    pub const fn owner(&self) -> &PersonName {
        &self.owner
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The policy that our TLS obeys.
    pub(crate) const fn policy(&self) -> &CompiledPolicy {
        &self.policy
    }

    /// Everybody with a certificate of this home, sorted.
    #[must_use]
    pub fn persons(&self) -> Vec<PersonName> {
        let mut persons: Vec<PersonName> = names(&self.folder.join("persons"), "crt");
        persons.sort();
        persons
    }

    /// Gives a person a key, kept sealed here, and a certificate; a new certificate if there is a key. What the person
    /// may do is each device's to say.
    ///
    /// # Errors
    /// [`ControlError`] of keystore or disk.
    pub fn issue_person(&self, name: PersonName) -> Result<(), ControlError> {
        let label = person_label(&name);
        let key = match self.keys.load(&label)? {
            Some(key) => key,
            None => self.keys.generate(&label, self.policy.signing_algorithm())?,
        };
        let home = self.keys.require(HOME_KEY)?;
        let certificate = certify::person(&name, key.spki_der().to_vec(), &self.anchor, &home)?;
        write(&self.person_file(&name), certificate.to_pem().as_bytes(), file::PUBLIC)
    }

    /// Writes `NAME.key` (0600), `NAME.crt` and `home.crt` to `folder`, for ordinary clients: a fresh key and
    /// certificate of that person, since those kept here never leave.
    ///
    /// # Errors
    /// [`ControlError::NoSuchPerson`]; [`ControlError`] of the disk.
    pub fn export_person(&self, name: &PersonName, folder: &Path) -> Result<(), ControlError> {
        if !self.person_file(name).exists() {
            return Err(ControlError::NoSuchPerson(name.clone()));
        }
        file::private_folder(folder)
            .map_err(|error| ControlError::File(folder.to_owned(), error))?;
        let (key, pem) = exportable_key(self.policy.signing_algorithm())?;
        let home = self.keys.require(HOME_KEY)?;
        let certificate = certify::person(name, key.spki_der().to_vec(), &self.anchor, &home)?;
        pem.expose(|pem| write(&folder.join(format!("{name}.key")), pem, file::PRIVATE))?;
        let path = folder.join(format!("{name}.crt"));
        write(&path, certificate.to_pem().as_bytes(), file::PUBLIC)?;
        write(&folder.join("home.crt"), self.anchor.to_pem().as_bytes(), file::PUBLIC)
    }

    /// The identity of a person, for TLS.
    ///
    /// # Errors
    /// [`ControlError::NoSuchPerson`].
    pub(crate) fn identity(&self, name: &PersonName) -> Result<TlsIdentity, ControlError> {
        let path = self.person_file(name);
        if !path.exists() {
            return Err(ControlError::NoSuchPerson(name.clone()));
        }
        let chain = CertificateChain::from_pem(&read(&path)?)
            .map_err(|error| ControlError::Damaged(path, error.to_string()))?;
        let key = self.keys.require(&person_label(name))?;
        TlsIdentity::new(chain, key).map_err(ControlError::Tls)
    }

    /// The paired things, sorted.
    ///
    /// # Errors
    /// [`ControlError::Damaged`].
    pub fn things(&self) -> Result<Vec<PairedThing>, ControlError> {
        let mut ids = thing_ids(&self.folder.join("things"));
        ids.sort();
        ids.iter().map(|id| self.thing(id)).collect()
    }

    /// One paired thing.
    ///
    /// # Errors
    /// [`ControlError::NoSuchThing`].
    pub fn thing(&self, id: &ThingId) -> Result<PairedThing, ControlError> {
        let path = self.thing_file(id, "json");
        if !path.exists() {
            return Err(ControlError::NoSuchThing(id.to_string()));
        }
        read_json(&path)
    }

    /// Forgets a thing, such as one that was reset.
    ///
    /// # Errors
    /// [`ControlError::NoSuchThing`]; [`ControlError::File`].
    pub fn forget(&self, id: &ThingId) -> Result<(), ControlError> {
        self.thing(id)?;
        self.forget_what_was_seen(id);
        let path = self.thing_file(id, "json");
        std::fs::remove_file(&path).map_err(|error| ControlError::File(path, error))
    }

    pub(crate) fn remember(
        &self,
        thing: &PairedThing,
        roots: &[Certificate],
    ) -> Result<(), ControlError> {
        let pem: String = roots.iter().map(Certificate::to_pem).collect();
        let id = &thing.thing;
        self.forget_what_was_seen(id);
        write(&self.thing_file(id, "roots.pem"), pem.as_bytes(), file::PUBLIC)?;
        let text = serde_json::json!(thing).to_string();
        write(&self.thing_file(id, "json"), text.as_bytes(), file::PRIVATE)
    }

    /// Remembers where a thing was found, by its certificate.
    ///
    /// # Errors
    /// [`ControlError::NoSuchThing`]; [`ControlError::File`].
    pub fn moved(&self, id: &ThingId, address: SocketAddr) -> Result<(), ControlError> {
        let mut thing = self.thing(id)?;
        if thing.address == address {
            return Ok(());
        }
        thing.address = address;
        let text = serde_json::json!(thing).to_string();
        write(&self.thing_file(id, "json"), text.as_bytes(), file::PRIVATE)
    }

    /// The end of the device's record as it was seen last; none before the first time.
    ///
    /// # Errors
    /// [`ControlError::Damaged`].
    pub fn seen_history(&self, id: &ThingId) -> Result<Option<Head>, ControlError> {
        // The second is where it lay before, among the things, which took it for one.
        let places = ["history", "history.json"].map(|ending| self.thing_file(id, ending));
        let path = places.iter().find(|path| path.exists());
        path.map(|path| read_json(path)).transpose()
    }

    pub(crate) fn saw_history(&self, id: &ThingId, head: Head) -> Result<(), ControlError> {
        let text = serde_json::json!(head).to_string();
        write(&self.thing_file(id, "history"), text.as_bytes(), file::PRIVATE)
    }

    /// The maker's roots of a paired thing.
    pub(crate) fn roots(&self, id: &ThingId) -> Result<Vec<Certificate>, ControlError> {
        let path = self.thing_file(id, "roots.pem");
        certificates_from_pem(&read(&path)?)
            .map_err(|error| ControlError::Damaged(path, error.to_string()))
    }

    fn person_file(&self, name: &PersonName) -> PathBuf {
        self.folder.join("persons").join(format!("{name}.crt"))
    }

    fn thing_file(&self, id: &ThingId, ending: &str) -> PathBuf {
        self.folder.join("things").join(format!("{id}.{ending}"))
    }
}

fn person_label(name: &PersonName) -> String {
    format!("person-{name}")
}

/// The things of a folder. An id may hold dots, so what once lay beside a thing as `ID.history.json` is told apart.
pub(crate) fn thing_ids(folder: &Path) -> Vec<ThingId> {
    let mut ids: Vec<ThingId> = names(folder, "json");
    ids.retain(|id| match id.as_str().strip_suffix(".history") {
        Some(thing) => !folder.join(format!("{thing}.json")).exists(),
        None => true,
    });
    ids
}

pub(crate) fn names<T: std::str::FromStr>(folder: &Path, ending: &str) -> Vec<T> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let stem = |name: String| name.strip_suffix(&format!(".{ending}"))?.parse().ok();
    entries.filter_map(|entry| stem(entry.file_name().into_string().ok()?)).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, ControlError> {
    std::fs::read(path).map_err(|error| ControlError::File(path.to_owned(), error))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ControlError> {
    serde_json::from_slice(&read(path)?)
        .map_err(|error| ControlError::Damaged(path.to_owned(), error.to_string()))
}

pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), ControlError> {
    file::write_atomic(path, bytes, mode)
        .map_err(|error| ControlError::File(path.to_owned(), error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use countersign_crypto::certificate::IdentityKind;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_home_comes_back_and_is_not_made_twice() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::create(folder.path(), "ada".parse().unwrap()).unwrap();
        home.issue_person("bob".parse().unwrap()).unwrap();
        let anchor = home.anchor().clone();
        let home = Home::open(folder.path()).unwrap();
        assert_eq!((home.anchor(), home.owner().as_str()), (&anchor, "ada"));
        assert_eq!(home.persons().len(), 2);
        let again = Home::create(folder.path(), "eve".parse().unwrap());
        assert!(matches!(again, Err(ControlError::Exists(_))));
        assert!(matches!(
            home.identity(&"eve".parse().unwrap()),
            Err(ControlError::NoSuchPerson(_))
        ));
    }

    #[test]
    fn the_end_of_a_record_is_no_thing() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::create(folder.path(), "ada".parse().unwrap()).unwrap();
        let thing = PairedThing {
            thing: "plug-000001".parse().unwrap(),
            address: "127.0.0.1:5541".parse().unwrap(),
            paired_at: Timestamp(0),
            description_sha256: String::new(),
            person: None,
            discovery: None,
        };
        home.remember(&thing, &[home.anchor().clone()]).unwrap();
        let head: Head =
            serde_json::from_value(serde_json::json!({ "number": 7, "link": "0a".repeat(32) }))
                .unwrap();
        // As it lay before, and as it lies now.
        let old = home.thing_file(&thing.thing, "history.json");
        write(&old, serde_json::json!(head).to_string().as_bytes(), file::PRIVATE).unwrap();
        assert_eq!(home.things().unwrap(), std::slice::from_ref(&thing));
        assert_eq!(home.seen_history(&thing.thing).unwrap(), Some(head));
        home.saw_history(&thing.thing, head).unwrap();
        assert_eq!(home.things().unwrap(), std::slice::from_ref(&thing));
        assert_eq!(home.seen_history(&thing.thing).unwrap(), Some(head));
    }

    #[test]
    fn an_exported_person_is_one_of_the_home_with_a_private_key_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::create(&folder.path().join("home"), "ada".parse().unwrap()).unwrap();
        let out = folder.path().join("out");
        home.export_person(&"ada".parse().unwrap(), &out).unwrap();
        let mode = std::fs::metadata(out.join("ada.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let chain = CertificateChain::from_pem(&read(&out.join("ada.crt")).unwrap()).unwrap();
        assert_eq!(chain.leaf().name().unwrap().kind(), IdentityKind::Person);
        chain.leaf().verify_signed_by(home.anchor()).unwrap();
    }
}
