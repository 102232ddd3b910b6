use super::shares::{groups, join, members, split};
use super::*;
use crate::keystore::key_from_pem;
use crate::random::SystemRandom;
use crate::seal::SealKey;
use crate::secret::{Rated, Secret, Strength};
use crate::signature::SignatureAlgorithm;
use proptest::prelude::*;

const ALGORITHM: SignatureAlgorithm = SignatureAlgorithm::EcdsaP384Sha384;

fn holders(count: usize) -> (Vec<WrapKey>, Vec<Holder>) {
    let keys: Vec<_> = (0..count).map(|_| WrapKey::generate().unwrap()).collect();
    let holders = keys.iter().map(|key| Holder { public: key.public().clone() }).collect();
    (keys, holders)
}

fn opened(vault: &Vault, keys: &[WrapKey], who: &[u8]) -> Vec<Parts> {
    let open = |holder: &u8| {
        let key = &keys[usize::from(*holder)];
        Vault::open_parts(vault.spki_der(), vault.parts(), *holder, key).unwrap()
    };
    who.iter().map(open).collect()
}

//= specs/house.md#house-custody
//= type=test
//# A root that custodians hold in a file MUST NOT open with the parts of fewer than the plan says.
#[test]
fn every_group_of_m_opens_and_none_of_fewer() {
    let seal = SealKey::generate(&mut SystemRandom);
    let (keys, all) = holders(3);
    let vault = Vault::make(ALGORITHM, &seal, 2, &all, &mut SystemRandom).unwrap();
    let again = Vault::parse(&vault.to_bytes()).unwrap();
    assert_eq!(again, vault);
    for who in [&[0, 1][..], &[0, 2], &[1, 2], &[0, 1, 2]] {
        let key = again.open(&seal, &opened(&vault, &keys, who)).unwrap();
        assert_eq!(key.spki_der(), vault.spki_der(), "{who:?}");
    }
    for who in [&[][..], &[0], &[1], &[2], &[2, 2]] {
        let refused = again.open(&seal, &opened(&vault, &keys, who)).unwrap_err();
        assert_eq!(refused, VaultError::TooFew, "{who:?}");
    }
    // Neither another folder's key nor another custodian's opens anything.
    let other = SealKey::generate(&mut SystemRandom);
    let enough = opened(&vault, &keys, &[0, 1]);
    assert_eq!(again.open(&other, &enough).unwrap_err(), VaultError::Damaged);
    assert!(Vault::open_parts(vault.spki_der(), vault.parts(), 0, &keys[1]).is_err());
    // What stays where the key does not.
    assert_eq!(again.without_key().open(&seal, &enough).unwrap_err(), VaultError::Damaged);
    assert!(Vault::parse(&again.without_key().to_bytes()).is_ok());
}

#[test]
fn without_custodians_the_folder_opens_it_alone() {
    let seal = SealKey::generate(&mut SystemRandom);
    let vault = Vault::make(ALGORITHM, &seal, 0, &[], &mut SystemRandom).unwrap();
    assert!(vault.open(&seal, &[]).is_ok());
    let other = SealKey::generate(&mut SystemRandom);
    assert_eq!(vault.open(&other, &[]).unwrap_err(), VaultError::Damaged);
    let (_, one) = holders(1);
    for (needed, of) in [(1, &[][..]), (0, &one), (2, &one)] {
        let refused = Vault::make(ALGORITHM, &seal, needed, of, &mut SystemRandom);
        assert_eq!(refused.unwrap_err(), VaultError::Custody);
    }
}

#[test]
fn a_changed_vault_is_refused_or_opens_to_the_same_key() {
    let seal = SealKey::generate(&mut SystemRandom);
    let (keys, all) = holders(2);
    let vault = Vault::make(ALGORITHM, &seal, 2, &all, &mut SystemRandom).unwrap();
    let parts = opened(&vault, &keys, &[0, 1]);
    let bytes = vault.to_bytes();
    for at in 0..bytes.len() {
        assert_eq!(Vault::parse(&bytes[..at]).unwrap_err(), VaultError::Form);
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        if let Ok(key) = Vault::parse(&changed).and_then(|vault| vault.open(&seal, &parts)) {
            assert_eq!(key.spki_der(), vault.spki_der(), "byte {at}");
        }
    }
}

#[test]
fn parts_travel_to_the_one_who_asked_and_nobody_else() {
    let seal = SealKey::generate(&mut SystemRandom);
    let (keys, all) = holders(2);
    let vault = Vault::make(ALGORITHM, &seal, 1, &all, &mut SystemRandom).unwrap();
    let mine = opened(&vault, &keys, &[1]).pop().unwrap();
    let asker = WrapKey::generate().unwrap();
    let asker = WrapKey::open(&seal, &asker.sealed(&seal, &mut SystemRandom).unwrap()).unwrap();
    let wrapped = mine.wrap_to(asker.public(), "request 1").unwrap();
    let back = Parts::unwrap_from(&wrapped, 1, &asker, "request 1").unwrap();
    assert!(vault.open(&seal, &[back]).is_ok());
    assert!(Parts::unwrap_from(&wrapped, 1, &asker, "request 2").is_err());
    assert!(Parts::unwrap_from(&wrapped, 1, &keys[0], "request 1").is_err());
}

#[test]
fn a_custodians_file_opens_with_its_passphrase_alone() {
    let secret = |text: &str| Secret::new(text.as_bytes().to_vec(), Strength(0));
    let key = CustodianKey::generate("alice").unwrap();
    let file = key.to_file(&secret("correct horse battery"), &mut SystemRandom).unwrap();
    let again = CustodianKey::from_file(&file, &secret("correct horse battery"), None).unwrap();
    assert_eq!(again.signing().spki_der(), key.signing().spki_der());
    assert_eq!(again.name(), "alice");
    assert_eq!(again.wrap().public(), key.wrap().public());
    let wrong = CustodianKey::from_file(&file, &secret("correct horse batterx"), None);
    assert!(matches!(wrong, Err(CustodianKeyError::Wrong)));
    let short = key.to_file(&secret("short"), &mut SystemRandom);
    assert!(matches!(short, Err(CustodianKeyError::Passphrase)));
    let cut = CustodianKey::from_file(&file[1..], &secret("correct horse battery"), None);
    assert!(matches!(cut, Err(CustodianKeyError::Form)));
    assert!(key_from_pem(&file).is_err());
}

proptest! {
    /// Any group of M has the key; any M-1 of its members see bytes that fit every other key as well.
    #[test]
    fn groups_have_the_key_and_less_than_one_fits_every_key(
        of in 1_usize..=MAX_CUSTODIANS, needed in 1_usize..=MAX_CUSTODIANS, bytes in any::<[u8; 32]>(), other in any::<[u8; 32]>(),
    ) {
        prop_assume!(needed <= of);
        let key = Rated::<256>::new(bytes.to_vec());
        let parts = split(&key, needed, of, &mut SystemRandom);
        for group in groups(needed, of) {
            let of_group: Vec<_> = parts.iter().filter(|part| part.group == group).collect();
            prop_assert_eq!(of_group.len(), needed);
            prop_assert!(members(group).all(|holder| of_group.iter().any(|part| part.holder == holder)));
            let joined = join(of_group.iter().map(|part| &part.secret)).unwrap();
            prop_assert!(joined.expose(|joined| joined == bytes));
            // With the last part missing there is one that would make it any other key.
            let missing = of_group[0].secret.expose(<[u8]>::to_vec);
            let fitting: Vec<u8> =
                missing.iter().zip(bytes).zip(other).map(|((part, key), other)| part ^ key ^ other).collect();
            let fitting = Rated::new(fitting);
            let rest = of_group[1..].iter().map(|part| &part.secret);
            let joined = join(rest.chain([&fitting])).unwrap();
            prop_assert!(joined.expose(|joined| joined == other));
        }
    }
}
