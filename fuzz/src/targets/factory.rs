//! What a factory hands over: a station's manifest, a device's request in a line, a sealed file's content, a batch file.

use countersign_authority::factory::Batch;
use countersign_authority::factory::kit::Authorisation;
use countersign_authority::factory::manifest::{MAX_RECORDS, VerifiedManifest, claimed, whole};
use countersign_authority::factory::requests::{MAX_LINE, parse_line};
use countersign_model::factory::Package;
use std::path::Path;

/// The key of the corpus. Its private half was thrown away, so a changed manifest cannot verify.
const STATION: &[u8] = include_bytes!("../../fixtures/station.spki");
const GENUINE: &[u8] = include_bytes!("../../fixtures/station.manifest");

//= specs/house.md#house-factory
//= type=test
//# A manifest that was changed, cut in the middle, repeated or put together anew MUST be refused.
/// Only a beginning of the genuine manifest is believed; what was read of the rest is written again as the same.
pub fn target(data: &[u8]) {
    let genuine = VerifiedManifest::verify(GENUINE, STATION).expect("the fixture is signed");
    if let Ok(read) = VerifiedManifest::verify(data, STATION) {
        assert!(read.records().len() <= MAX_RECORDS);
        let known = &genuine.records()[..read.records().len()];
        assert_eq!(read.records(), known, "nobody signed these records");
    }
    let _ = claimed(data);
    assert!(whole(data) <= data.len());
    let _ = Authorisation::verify(data, STATION);
    if let Ok((serial, der)) = parse_line(data) {
        assert!(serial.len() + der.len() <= MAX_LINE);
    }
    if let Ok(package) = Package::decode(data) {
        assert_eq!(&package.encode()[..], data, "the written package differs");
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(batch) = Batch::from_toml("batch.toml", text, Path::new("/nowhere"))
    {
        let mut serials: Vec<_> = batch.serials().to_vec();
        serials.sort();
        serials.dedup();
        assert_eq!(serials.len(), batch.serials().len(), "a serial stands there twice");
    }
}
