#![allow(clippy::unwrap_used)]

use super::*;

fn authority(second: Option<Vec<u8>>) -> PolicyAuthority {
    PolicyAuthority { maker: "Example".into(), spki_der: vec![7; 91], second_spki_der: second }
}

#[test]
fn a_factory_file_with_one_key_or_two_goes_there_and_back() {
    for written in [authority(None), authority(Some(vec![9; 1974]))] {
        let plain = encode_policy(&written);
        assert_eq!(decode_policy(&plain).unwrap(), written);
        assert!(decode_policy(&plain[..plain.len() - 1]).is_none());
    }
    assert!(decode_policy(&encode_policy(&authority(Some(vec![0; MAX_POLICY_KEY + 1])))).is_none());
}

/// The bytes of a folder that was provisioned before there was a second key.
#[test]
fn a_folder_from_before_the_second_key_still_loads() {
    let plain = [&[0x82, 0x67][..], b"Example", &[0x43, 1, 2, 3]].concat();
    let known = decode_policy(&plain).unwrap();
    assert_eq!((known.maker.as_str(), &known.spki_der[..]), ("Example", &[1, 2, 3][..]));
    assert_eq!(known.second_spki_der, None);
}
