//! Keys in a real PKCS#11 token (SoftHSM 2): made inside, not extractable, found again after a lost session.
//!
//! A module reads its configuration from the environment of the process that loads it, so each test runs itself a second
//! time as a child that has that environment.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_crypto::cose;
use countersign_crypto::keystore::{Keystore, KeystoreError, Token, TokenConfig, TokenError};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::seal::SealKey;
use countersign_crypto::signature::{self, SignatureAlgorithm};
use cryptoki::context::Pkcs11;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

const FOLDER: &str = "COUNTERSIGN_TEST_TOKEN";
const MODULES: [&str; 2] =
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
const PIN: &str = "271828";

fn module() -> PathBuf {
    let found = MODULES.into_iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("SoftHSM 2 is installed: `./test` does it (Debian: softhsm2)")
}

/// Runs `test` in a process whose environment names a fresh token. `name` is the calling test's own.
fn with_token(name: &str, test: impl FnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return test(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("softhsm2.conf");
    let tokens = folder.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    std::fs::write(
        &conf,
        format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display()),
    )
    .unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "maker", "--so-pin", "314159", "--pin", PIN])
        .env("SOFTHSM2_CONF", &conf)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    write_pin(folder.path(), PIN);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("SOFTHSM2_CONF", &conf)
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}\n{}", String::from_utf8_lossy(&child.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

fn write_pin(folder: &Path, pin: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("pin");
    std::fs::write(&path, format!("{pin}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn config(folder: &Path, label: &str, prefix: &str) -> TokenConfig {
    TokenConfig::new(module(), label.into(), folder.join("pin"), prefix.into()).unwrap()
}

fn store(folder: &Path, prefix: &str) -> Keystore {
    Keystore::in_token(Token::open(&config(folder, "maker", prefix)).unwrap())
}

/// A session beside the keystore's, in the same login.
fn session() -> Session {
    let module = Pkcs11::new(module()).unwrap();
    let slot = module.get_slots_with_initialized_token().unwrap()[0];
    module.open_rw_session(slot).unwrap()
}

//= specs/house.md#house-secrets
//= type=test
//# A private key in a token MUST be made there and MUST NOT be extractable.
#[test]
fn a_key_is_made_in_the_token_and_cannot_leave_it() {
    with_token("a_key_is_made_in_the_token_and_cannot_leave_it", |folder| {
        let keys = store(folder, "");
        for algorithm in SignatureAlgorithm::ALL {
            let label = format!("policy-{}", algorithm.scalar_len());
            let made = keys.generate(&label, algorithm).unwrap();
            assert!(matches!(keys.generate(&label, algorithm), Err(KeystoreError::Exists(_))));
            let key = keys.require(&label).unwrap();
            assert_eq!((key.algorithm(), key.spki_der()), (algorithm, made.spki_der()));
            let signature = key.sign(b"message").unwrap();
            signature::verify(algorithm, key.spki_der(), b"message", &signature).unwrap();
            let document = cose::sign1(&key, "application/test", b"payload").unwrap();
            let payload = cose::verify1(&document, "application/test", key.spki_der());
            assert_eq!(payload.unwrap(), b"payload");
        }
        let session = session();
        let private = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap();
        assert_eq!(private.len(), 2);
        for object in private {
            let wanted = [AttributeType::NeverExtractable, AttributeType::AlwaysSensitive];
            let found = session.get_attributes(object, &wanted).unwrap();
            assert_eq!(
                found,
                [Attribute::NeverExtractable(true), Attribute::AlwaysSensitive(true)]
            );
            assert!(session.get_attributes(object, &[AttributeType::Value]).unwrap().is_empty());
        }
    });
}

#[test]
fn labels_move_go_and_are_kept_apart_by_prefix() {
    with_token("labels_move_go_and_are_kept_apart_by_prefix", |folder| {
        let (ours, theirs) = (store(folder, "ours."), store(folder, "theirs."));
        let next = ours.generate("next", SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        ours.generate("current", SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        theirs.generate("current", SignatureAlgorithm::EcdsaP384Sha384).unwrap();
        ours.rename("next", "current").unwrap();
        assert_eq!(ours.require("current").unwrap().spki_der(), next.spki_der());
        assert_eq!(ours.list().unwrap(), ["current"]);
        assert!(ours.load("next").unwrap().is_none());
        ours.destroy("current").unwrap();
        ours.destroy("current").unwrap();
        let missing = ours.require("current").unwrap_err().to_string();
        assert!(missing.contains("ours.current") && missing.contains("maker"), "{missing}");
        assert_eq!(theirs.list().unwrap(), ["current"]);
        assert!(matches!(ours.load("../x"), Err(KeystoreError::Label(_))));
    });
}

#[test]
fn a_lost_login_is_found_again() {
    with_token("a_lost_login_is_found_again", |folder| {
        let keys = store(folder, "");
        let key = keys.generate("root", SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        for _ in 0..3 {
            // Logging out anywhere in a process ends the login of all its sessions.
            session().logout().unwrap();
            let signature = key.sign(b"still here").unwrap();
            signature::verify(key.algorithm(), key.spki_der(), b"still here", &signature).unwrap();
        }
        session().logout().unwrap();
        assert!(keys.load("root").unwrap().is_some(), "private keys are hidden until logged in");
    });
}

#[test]
fn many_threads_sign_at_once() {
    with_token("many_threads_sign_at_once", |folder| {
        let keys = store(folder, "");
        let key = keys.generate("ca", SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..16_u8 {
                let key = key.clone();
                scope.spawn(move || {
                    for round in 0..8 {
                        let message = [thread, round];
                        let signature = key.sign(&message).unwrap();
                        signature::verify(key.algorithm(), key.spki_der(), &message, &signature)
                            .unwrap();
                    }
                });
            }
        });
    });
}

#[test]
fn what_cannot_be_used_is_named_with_the_mend() {
    with_token("what_cannot_be_used_is_named_with_the_mend", |folder| {
        let keys = store(folder, "");
        // A key that an operator put in and that could be taken out again.
        let session = session();
        session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).ok();
        let curve = vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let open = |label: &str| {
            let label = Attribute::Label(label.as_bytes().to_vec());
            session
                .generate_key_pair(
                    &Mechanism::EccKeyPairGen,
                    &[Attribute::Token(true), Attribute::EcParams(curve.clone()), label.clone()],
                    &[
                        Attribute::Token(true),
                        Attribute::Extractable(true),
                        Attribute::Sign(true),
                        label,
                    ],
                )
                .unwrap();
        };
        open("loose");
        let refused = keys.load("loose").unwrap_err().to_string();
        assert!(refused.contains("loose") && refused.contains("not extractable"), "{refused}");
        open("loose");
        let refused = keys.load("loose").unwrap_err().to_string();
        assert!(refused.contains("twice"), "{refused}");
        let (_, pem) =
            countersign_crypto::keystore::exportable_key(SignatureAlgorithm::EcdsaP256Sha256)
                .unwrap();
        let refused = keys.import("in", SignatureAlgorithm::EcdsaP256Sha256, &pem);
        assert!(matches!(refused, Err(KeystoreError::MadeInside(_))));

        let refused = Token::open(&config(folder, "other", "")).unwrap_err().to_string();
        assert!(refused.contains("\"other\"") && refused.contains("there: maker"), "{refused}");
        let absent = TokenConfig::new(
            "/no/such.so".into(),
            "maker".into(),
            folder.join("pin"),
            String::new(),
        );
        let refused = Token::open(&absent.unwrap()).unwrap_err().to_string();
        assert!(refused.contains("/no/such.so"), "{refused}");
        let nowhere =
            TokenConfig::new(module(), "maker".into(), folder.join("nopin"), String::new());
        assert!(matches!(Token::open(&nowhere.unwrap()), Err(TokenError::PinFile(..))));
        assert!(TokenConfig::new(module(), String::new(), "pin".into(), String::new()).is_err());
        assert!(TokenConfig::new(module(), "t".into(), "pin".into(), "a/b".into()).is_err());
    });
}

#[test]
fn a_wrong_or_readable_pin_is_refused_before_anything_is_done() {
    with_token("a_wrong_or_readable_pin_is_refused_before_anything_is_done", |folder| {
        write_pin(folder, "000000");
        let refused = Token::open(&config(folder, "maker", "")).unwrap_err();
        assert!(matches!(refused, TokenError::Pin { .. }), "{refused}");
        assert!(!refused.to_string().contains("000000"));
        write_pin(folder, "");
        assert!(matches!(Token::open(&config(folder, "maker", "")), Err(TokenError::PinForm(_))));
        use std::os::unix::fs::PermissionsExt as _;
        write_pin(folder, PIN);
        std::fs::set_permissions(folder.join("pin"), std::fs::Permissions::from_mode(0o644))
            .unwrap();
        let refused = Token::open(&config(folder, "maker", "")).unwrap_err().to_string();
        assert!(refused.contains("chmod 600") && !refused.contains(PIN), "{refused}");
    });
}

#[test]
fn sealed_files_and_tokens_are_used_alike() {
    with_token("sealed_files_and_tokens_are_used_alike", |folder| {
        let seal = SealKey::generate(&mut SystemRandom);
        let files = Keystore::open(&folder.join("keys"), seal).unwrap();
        for keys in [files, store(folder, "")] {
            let key = keys.generate("a", SignatureAlgorithm::EcdsaP256Sha256).unwrap();
            assert_eq!(keys.list().unwrap(), ["a"]);
            assert_eq!(keys.require("a").unwrap().spki_der(), key.spki_der());
            keys.destroy("a").unwrap();
            assert_eq!(keys.list().unwrap(), Vec::<String>::new());
        }
    });
}
