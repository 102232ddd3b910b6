//! Writes the first seeds of the corpus, and the fixtures that targets compare with, from the product's own
//! encoders. Keys are fresh each time and thrown away. Seeds that were found later stay where they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_authority::ledger::merkle::Hash;
use countersign_authority::ledger::note::{SignatureType, VerifierKey};
use countersign_authority::ledger::receipt::Receipt;
use countersign_authority::ledger::witness::Growth;
use countersign_authority::ledger::{Entry, Kind, Ledger, LedgerSigner, tiles};
use countersign_crypto::certificate::{Certificate, IdentityKind, IdentityName};
use countersign_crypto::note_key::NoteKey;
use countersign_crypto::issue::{
    CaTemplate, Eku, Serial, Template, ca_signed_by, prepare, self_signed_ca, sign,
};
use countersign_crypto::pake::derive;
use countersign_crypto::policy::{self, Policy};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::{cose, csr, pkcs7, seal};
use countersign_fuzz::targets::{known, sealed_file};
use countersign_model::ixit::{Declaration, SecComMech, SecParam};
use countersign_model::label::{Label, RootFingerprint, SetupCode};
use countersign_model::registry;
use countersign_model::time::{Timestamp, Validity};
use countersign_model::invite::Invite;
use countersign_protocol::invitation::{
    InvitationDevice, InvitationJoiner, InvitationOutput, JoinerOutput,
};
use countersign_protocol::journal::{Journal, Note, What};
use countersign_protocol::pairing::{
    Attempts, ControllerOutput, DeviceOutput, Installed, PairingController, PairingDevice,
};
use std::error::Error;
use std::path::Path;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let seeds = Seeds { top: Path::new(env!("CARGO_MANIFEST_DIR")) };
    seeds.certificates()?;
    seeds.policy()?;
    seeds.ledger()?;
    seeds.sealed()?;
    seeds.documents()?;
    seeds.pairing()?;
    seeds.invitation()?;
    seeds.mqtt()?;
    seeds.server_hellos()
}

struct Seeds<'a> {
    top: &'a Path,
}

impl Seeds<'_> {
    fn corpus(&self, target: &str, name: &str, bytes: &[u8]) -> Outcome {
        let folder = self.top.join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(folder.join(name), bytes)?)
    }

    fn fixture(&self, name: &str, bytes: &[u8]) -> Outcome {
        let folder = self.top.join("fixtures");
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(folder.join(name), bytes)?)
    }

    fn certificates(&self) -> Outcome {
        let key = || KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256);
        let validity = Validity {
            not_before: Timestamp::from_secs(1_700_000_000),
            not_after: Timestamp::from_secs(1_900_000_000),
        };
        let ca = |name: &str| CaTemplate {
            common_name: name.to_owned(),
            organisation: "Seeds".to_owned(),
            country: "DE".to_owned(),
            validity,
            serial: Serial::random(&mut SystemRandom),
        };
        let (root_key, issuing_key, leaf_key) = (key()?, key()?, key()?);
        let root = self_signed_ca(&ca("Seed Root"), &root_key)?;
        let issuing =
            ca_signed_by(&ca("Seed LDevID CA"), issuing_key.spki_der(), &root, &root_key)?;
        let template = Template {
            common_name: "plug-000001".to_owned(),
            identity: IdentityName::new(IdentityKind::Thing, "plug-000001")?,
            dns: vec!["plug-000001.local".to_owned()],
            ips: vec!["127.0.0.1".parse()?],
            eku: Eku { server: true, client: true },
            validity,
            serial: Serial::random(&mut SystemRandom),
            spki_der: leaf_key.spki_der().to_vec(),
        };
        let prepared = prepare(&template, &issuing, issuing_key.algorithm())?;
        let leaf = sign(prepared, &issuing_key)?;
        let all: [(&str, &Certificate); 3] =
            [("root", &root), ("issuing", &issuing), ("leaf", &leaf)];
        for (name, certificate) in all {
            self.corpus("certificate", name, certificate.der())?;
        }
        let chain = format!("{}{}", leaf.to_pem(), issuing.to_pem());
        self.corpus("certificate", "chain.pem", chain.as_bytes())?;
        let request = csr::request(&leaf_key, "plug-000001")?;
        self.corpus("csr", "plug", &request)?;
        let line = STANDARD.encode(&request);
        self.corpus("est_body", "line", line.as_bytes())?;
        let pem = format!(
            "-----BEGIN CERTIFICATE REQUEST-----\r\n{line}\r\n-----END CERTIFICATE REQUEST-----\r\n"
        );
        self.corpus("est_body", "pem", pem.as_bytes())?;
        self.corpus("pkcs7", "one", &pkcs7::certs_only(std::slice::from_ref(&leaf))?)?;
        self.corpus("pkcs7", "chain", &pkcs7::certs_only(&[leaf, issuing, root])?)
    }

    fn ledger(&self) -> Outcome {
        let fresh = || NoteKey::from_seed(&NoteKey::fresh_seed(&mut SystemRandom));
        let folder = std::env::temp_dir().join(format!("countersign-seeds-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let (signer, now) = (LedgerSigner::new(fresh()?), Timestamp::from_secs(1_700_000_000));
        let key = signer.verifier().clone();
        let (ledger, _) = Ledger::open(&folder.join("ledger.log"), signer, now)?;
        let early = ledger.checkpoint(now)?;
        for number in 1..7 {
            ledger.append(Kind::Issued, serde_json::json!({ "serial": number }), now)?;
        }
        let signed = ledger.checkpoint(now)?;
        let entries: Vec<Vec<u8>> = ledger.entries()?.iter().map(Entry::leaf_data).collect();
        let hashes: Vec<Hash> = entries.iter().map(|entry| Hash::leaf(entry)).collect();
        let growth = Growth::make(&hashes, early.checkpoint().size, &signed)?;
        let with = fresh()?;
        let witness = VerifierKey::new("witness.example/w1", SignatureType::Cosignature, &with)?;
        let grown = growth.verify(Some(early.checkpoint()), &key)?;
        let cosigned = grown.cosign(&witness, &with, now.as_secs())?;
        self.fixture("ledger.key", format!("{key}\n").as_bytes())?;
        self.fixture("ledger.checkpoint", signed.note().to_string().as_bytes())?;
        self.corpus("ledger", "checkpoint", signed.note().to_string().as_bytes())?;
        self.corpus("ledger", "cosigned", cosigned.note().to_string().as_bytes())?;
        self.corpus("ledger", "growth", growth.to_string().as_bytes())?;
        self.corpus("ledger", "key", key.to_string().as_bytes())?;
        self.corpus("ledger", "entry", &entries[0])?;
        let proof = Receipt::make(&entries, 4, &signed)?;
        self.corpus("ledger", "proof", proof.to_string().as_bytes())?;
        let bundle = tiles::bundle(&entries).ok_or("an entry is too long")?;
        self.corpus("ledger", "bundle", &[&[u8::try_from(entries.len())?], bundle.as_slice()].concat())?;
        drop(ledger);
        Ok(std::fs::remove_dir_all(&folder)?)
    }

    fn policy(&self) -> Outcome {
        let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256)?;
        let mut made = Policy::built_in();
        made.maker = Some("Seeds".to_owned());
        let signed = policy::sign(&made, &key)?;
        self.fixture("policy.spki", key.spki_der())?;
        self.fixture("policy.cose", &signed)?;
        self.corpus("policy", "signed", &signed)?;
        let others = [
            KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256)?,
            KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256)?,
        ];
        let [zero, one, two] =
            [&key, &others[0], &others[1]].map(|key| cose::DocumentKeys::new(key.clone()));
        let changes = [
            policy::keys::name_successor(&zero, &one, 1, "Seeds")?,
            policy::keys::name_successor(&one, &two, 2, "Seeds")?,
        ];
        let chained = policy::keys::with_changes(&changes, policy::sign(&made, &others[1])?)?;
        self.fixture("policy-chain.spki", key.spki_der())?;
        self.fixture("policy-chain.cose", &chained)?;
        self.corpus("policy", "chain", &chained)?;
        let content = cose::verify1(&signed, policy::POLICY_CONTENT_TYPE, key.spki_der())?;
        self.corpus("policy", "content", &content)?;
        self.corpus("policy_text", "default.toml", policy::DEFAULT_TOML.as_bytes())?;
        let drbgs = registry::BUILT_IN.entries.iter().find(|(kind, _)| *kind == registry::Kind::Drbg);
        self.corpus("registry", "drbgs.toml", drbgs.map_or("", |(_, text)| text).as_bytes())?;
        self.corpus("registry", "profiles.toml", registry::BUILT_IN.profiles.as_bytes())?;
        self.corpus("registry", "sources.toml", registry::BUILT_IN.sources.as_bytes())
    }

    fn sealed(&self) -> Outcome {
        let sealed =
            seal::seal(&sealed_file::key(), sealed_file::PURPOSE, b"state", &mut SystemRandom)?;
        self.fixture("sealed.bin", &sealed)?;
        self.corpus("sealed_file", "state", &sealed)
    }

    fn documents(&self) -> Outcome {
        let lines = concat!(
            "{\"id\":7,\"value\":true}\n{\"id\":8}\n{\"id\":9,\"refused\":\"not while it is hot\"}\n",
            "{\"id\":10,\"failed\":\"no bus\"}\n{\"event\":\"overload\",\"value\":{\"watts\":4000}}\n",
        );
        self.corpus("product_socket", "lines", lines.as_bytes())?;
        let code = SetupCode::from_entropy([0xa5; SetupCode::ENTROPY_BYTES]);
        self.corpus("label", "printed", code.printed().as_bytes())?;
        let root = RootFingerprint::from_sha256(&[0x3c; 32]);
        let label = Label::new("plug-000001".parse()?, code, root);
        self.corpus("label", "qr", label.qr_text().as_bytes())?;
        let declaration = Declaration {
            sec_com_mech: vec![SecComMech { id: "ComMech-1".into(), ..SecComMech::default() }],
            sec_param: vec![SecParam {
                id: "SecParam-1".into(),
                mechanisms: vec!["ComMech-1".into()],
                ..SecParam::default()
            }],
            ..Declaration::default()
        };
        self.corpus("ixit", "small", declaration.to_json().as_bytes())?;
        let plug = self.top.join("../crates/model/tests/things/plug.td.json");
        self.corpus("thing_description", "plug", &std::fs::read(plug)?)
    }

    /// One honest pairing: what each side sent, in order.
    fn pairing(&self) -> Outcome {
        let record = derive(&known::code(), &known::thing(), &known::params())?.record();
        record.to_secret().expose(|bytes| self.fixture("verifier.bin", bytes))?;
        let params = known::params();
        let attempts = Attempts::default();
        let mut device = PairingDevice::new(record, params, known::binding(), attempts, known::NOW);
        let (mut device_random, mut controller_random) = (known::Known(1), known::Known(2));
        let (mut controller, first) =
            PairingController::start(known::code(), known::binding(), &known::installation())?;
        let (mut from_controller, mut from_device) = (vec![first.to_vec()], Vec::new());
        let mut to_device = first.to_vec();
        while !to_device.is_empty() {
            let mut to_controller = Vec::new();
            let mut outputs = device.receive(&to_device, known::NOW);
            while !outputs.is_empty() {
                match outputs.remove(0) {
                    DeviceOutput::Send(bytes) => {
                        to_controller.extend_from_slice(&bytes);
                        from_device.push(bytes.to_vec());
                    }
                    DeviceOutput::Install(_) => outputs.extend(device.installed(Installed {
                        thing: known::thing(),
                        local_port: 8443,
                        td_sha256: [3; 32],
                    })),
                    DeviceOutput::Claim => {
                        let attempts = device.attempts();
                        outputs.extend(device.claimed(attempts, known::NOW, &mut device_random));
                    }
                    DeviceOutput::Persist(_) | DeviceOutput::Close(_) => {}
                }
            }
            to_device.clear();
            for output in controller.receive(&to_controller, &mut controller_random) {
                if let ControllerOutput::Send(bytes) = output {
                    to_device.extend_from_slice(&bytes);
                    from_controller.push(bytes.to_vec());
                }
            }
        }
        // The proof: all but what is installed, and its acknowledgement.
        self.fixture("proof_of_controller.bin", &from_controller[..3].concat())?;
        self.fixture("proof_of_device.bin", &from_device[..2].concat())?;
        self.corpus("pairing_device", "honest", &from_controller.concat())?;
        self.corpus("pairing_controller", "honest", &from_device.concat())
    }

    /// One honest invitation: what each side sent, in order; with what owners and devices write around it.
    fn invitation(&self) -> Outcome {
        let mut device = InvitationDevice::new(known::binding(), [3; 32], known::discovery(), known::NOW);
        let mut door = known::door();
        let (mut device_random, mut joiner_random) = (known::Known(1), known::Known(2));
        let (mut joiner, first) =
            InvitationJoiner::start(known::code(), known::binding(), known::ANCHOR);
        let (mut from_joiner, mut from_device) = (vec![first.to_vec()], Vec::new());
        let mut to_device = first.to_vec();
        while !to_device.is_empty() {
            let mut to_joiner = Vec::new();
            let mut outputs =
                device.receive(&to_device, &mut door, known::NOW, &mut device_random);
            while !outputs.is_empty() {
                match outputs.remove(0) {
                    InvitationOutput::Send(bytes) => {
                        to_joiner.extend_from_slice(&bytes);
                        from_device.push(bytes.to_vec());
                    }
                    InvitationOutput::Store(_) => outputs.extend(device.stored()),
                    InvitationOutput::Ended(_) | InvitationOutput::Close(_) => {}
                }
            }
            to_device.clear();
            for output in joiner.receive(&to_joiner, &mut joiner_random) {
                if let JoinerOutput::Send(bytes) = output {
                    to_device.extend_from_slice(&bytes);
                    from_joiner.push(bytes.to_vec());
                }
            }
        }
        // The proof: all but the anchor; all but the welcome and the acknowledgement.
        self.fixture("proof_of_joiner.bin", &from_joiner[..3].concat())?;
        self.fixture("proof_of_inviter.bin", &from_device[..2].concat())?;
        self.corpus("invitation_device", "honest", &from_joiner.concat())?;
        self.corpus("invitation_joiner", "honest", &from_device.concat())?;
        let root = RootFingerprint::from_sha256(&[0x3c; 32]);
        let address = "192.168.1.20:5541".parse()?;
        let invite = Invite::new(known::thing(), known::code(), root, address);
        self.corpus("invite", "qr", invite.qr_text().as_bytes())?;
        let input = known::offer().to_input(known::binding().strength)?;
        self.corpus("invite", "offer", input.to_string().as_bytes())?;
        let mut journal = Journal::default();
        journal.append(known::NOW, "the setup code", Note::new(What::Paired).of("alice".parse()?));
        let note = Note::new(What::Invited).of("sam".parse()?).detail("for 600 seconds");
        journal.append(known::NOW, "person:alice", note);
        self.corpus("journal", "two", &serde_json::to_vec(&journal)?)
    }

    fn mqtt(&self) -> Outcome {
        let v3 = b"\x10\x17\x00\x04MQTT\x04\x02\x00\x3c\x00\x0bplug-000001\
                   \x32\x2a\x00\x24things/plug-000001/properties/powers\x00\x01\x34\x32\
                   \xc0\x00\xe0\x00";
        self.corpus("mqtt_broker", "v3", v3)?;
        // CONNECT of 5 with a will, SUBSCRIBE to its own commands, PUBLISH with a user property, DISCONNECT.
        let mut v5 = Vec::new();
        let mut body = b"\x00\x04MQTT\x05\x06\x00\x3c\x05\x11\x00\x00\x00\x3c\x00\x00\x00".to_vec();
        let will: &[u8] = b"things/plug-000001/events/gone";
        for part in [will, b"1"] {
            body.extend((part.len() as u16).to_be_bytes());
            body.extend(part);
        }
        packet(&mut v5, 0x10, &body);
        let filter: &[u8] = b"things/plug-000001/actions/+";
        let mut body = vec![0, 1, 0];
        body.extend((filter.len() as u16).to_be_bytes());
        body.extend(filter);
        body.push(1);
        packet(&mut v5, 0x82, &body);
        let topic: &[u8] = b"things/plug-000001/properties/power";
        let mut body = (topic.len() as u16).to_be_bytes().to_vec();
        body.extend(topic);
        body.extend(b"\x00\x02\x0b\x26\x00\x03key\x00\x03val42");
        packet(&mut v5, 0x32, &body);
        packet(&mut v5, 0xe0, &[0]);
        self.corpus("mqtt_broker", "v5", &v5)
    }

    fn server_hellos(&self) -> Outcome {
        // A ServerHello of TLS 1.3: record, handshake, random, empty session, suite, two extensions.
        let mut body = vec![3, 3];
        body.extend([0x42; 32]);
        body.extend([0, 0x13, 0x01, 0, 0, 12, 0, 43, 0, 2, 3, 4, 0, 51, 0, 2, 0, 23]);
        let mut message = vec![2, 0, 0, body.len() as u8];
        message.extend(&body);
        let mut record = vec![22, 3, 3, 0, message.len() as u8];
        record.extend(&message);
        self.corpus("server_hello", "tls13", &record)?;
        self.corpus("server_hello", "alert", &[21, 3, 3, 0, 2, 2, 70])
    }
}

/// One MQTT packet of fewer than 128 bytes.
fn packet(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    out.push(body.len() as u8);
    out.extend(body);
}
