//! Table 10: what the device keeps that somebody must not see or change.

use super::Maker;
use super::mechanisms::{ENROLMENT, LOCAL_API, PAIRING, UPLINK};
use countersign_model::ixit::{
    Guarantee, ParamKind, ParamOrigin, Reach, RowId, SecMgmt, SecParam, SecParamFacts, Twin,
};
use std::collections::BTreeSet;

struct Row {
    id: &'static str,
    what: &'static str,
    kind: ParamKind,
    origin: ParamOrigin,
    unique: bool,
    reach: Reach,
    mechanisms: &'static [&'static str],
    provisioning: &'static str,
    generation: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        id: "SecParam-IDevIDKey",
        what: "private key of the factory identity",
        kind: ParamKind::Critical,
        origin: ParamOrigin::Device,
        unique: true,
        reach: Reach::Never,
        mechanisms: &[],
        provisioning: "made in the device's own keystore, or by the factory and brought in its sealed file; the factory certifies the public half",
        generation: "ECDSA key from the provider's random generator",
    },
    Row {
        id: "SecParam-LDevIDKey",
        what: "private key of the operational identity",
        kind: ParamKind::Critical,
        origin: ParamOrigin::Device,
        unique: true,
        reach: Reach::Never,
        mechanisms: &[],
        provisioning: "made in the device's own keystore; certified by enrolment (EST)",
        generation: "ECDSA key from the provider's random generator, a new one for each certificate",
    },
    Row {
        id: "SecParam-SealKey",
        what: "key that seals state and keys at rest",
        kind: ParamKind::Critical,
        origin: ParamOrigin::Device,
        unique: true,
        reach: Reach::Never,
        mechanisms: &[],
        provisioning: "made on the device",
        generation: "256 bits from the provider's random generator",
    },
    Row {
        id: "SecParam-SetupVerifier",
        what: "SPAKE2+ verifier of the label's setup code; the code itself is not on the device",
        kind: ParamKind::Critical,
        origin: ParamOrigin::Factory,
        unique: true,
        reach: Reach::Never,
        mechanisms: &[],
        provisioning: "written by the factory station, sealed",
        generation: "130 random bits, stretched by a memory-hard function with the device's own salt",
    },
    Row {
        id: "SecParam-Network",
        what: "name and key of the home network",
        kind: ParamKind::Critical,
        origin: ParamOrigin::User,
        unique: false,
        reach: Reach::LocalNetwork,
        mechanisms: &[PAIRING, LOCAL_API],
        provisioning: "installed by the owner's controller when the device is paired; replaced by an owner over the local API",
        generation: "by the owner of the network",
    },
    Row {
        id: "SecParam-InvitationVerifier",
        what: "SPAKE2+ verifier of an invitation's one-time code, in memory for minutes; the code itself is not on the device",
        kind: ParamKind::Critical,
        origin: ParamOrigin::User,
        unique: true,
        reach: Reach::LocalNetwork,
        mechanisms: &[LOCAL_API],
        provisioning: "left by an owner's controller over the local API, gone once used, withdrawn, over, or switched off",
        generation: "130 random bits, stretched by a memory-hard function with a salt of its own",
    },
    Row {
        id: "SecParam-HomeAnchor",
        what: "trust anchor of the home and list of its persons' roles",
        kind: ParamKind::Public,
        origin: ParamOrigin::User,
        unique: false,
        reach: Reach::LocalNetwork,
        mechanisms: &[PAIRING],
        provisioning: "installed by the owner's controller when the device is paired",
        generation: "by the owner's controller",
    },
    Row {
        id: "SecParam-Roots",
        what: "the manufacturer's roots",
        kind: ParamKind::Public,
        origin: ParamOrigin::Factory,
        unique: false,
        reach: Reach::Never,
        mechanisms: &[],
        provisioning: "written by the factory station",
        generation: "the manufacturer's ceremony",
    },
    Row {
        id: "SecParam-Certificates",
        what: "the device's own certificates",
        kind: ParamKind::Public,
        origin: ParamOrigin::Service,
        unique: true,
        reach: Reach::Remote,
        mechanisms: &[ENROLMENT, UPLINK],
        provisioning: "issued by the manufacturer's authority",
        generation: "see the keys",
    },
];

/// The rows; a critical parameter names its own process and those that the maker added.
pub(super) fn parameters(processes: &[(RowId, SecMgmt)], maker: &Maker) -> Vec<SecParam> {
    let added = maker.management.iter().map(|row| &row.id);
    ROWS.iter()
        .map(|row| {
            let own = processes.iter().filter(|(parameter, _)| parameter.as_str() == row.id);
            let own = own.map(|(_, process)| &process.id);
            parameter(row, own.chain(added.clone()).cloned().collect())
        })
        .collect()
}

fn parameter(row: &Row, life_cycle: Vec<RowId>) -> SecParam {
    let critical = row.kind == ParamKind::Critical;
    let guarantees = if critical {
        BTreeSet::from([Guarantee::Confidentiality, Guarantee::Integrity])
    } else {
        BTreeSet::from([Guarantee::Integrity])
    };
    let text = if critical { "confidentiality, integrity" } else { "integrity" };
    SecParam {
        id: row.id.into(),
        description: Twin::new(
            row.what,
            SecParamFacts {
                origin: row.origin,
                unique_per_device: row.unique,
                hard_coded: false,
                leaves_device: row.reach,
                life_cycle: if critical { life_cycle } else { Vec::new() },
            },
        ),
        kind: row.kind,
        security_guarantees: Twin::new(text, guarantees),
        protection_scheme: "sealed file (AES-256-GCM-SIV), readable by the agent's user only"
            .to_owned(),
        provisioning: row.provisioning.to_owned(),
        mechanisms: row.mechanisms.iter().map(|id| (*id).into()).collect(),
        generation: row.generation.to_owned(),
    }
}
