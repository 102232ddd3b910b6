//! A device to judge: its declaration, and evidence as a probe would write it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use countersign_assessor::evidence::*;
use countersign_assessor::{Bundle, FORMAT, Profile};
use countersign_model::ixit::*;
use countersign_model::role::Role;
use countersign_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

pub fn codes(list: &[u16]) -> BTreeSet<CodePoint> {
    list.iter().copied().map(CodePoint).collect()
}

pub fn all_guarantees() -> BTreeSet<Guarantee> {
    BTreeSet::from([
        Guarantee::PeerAuthentication,
        Guarantee::OriginAuthentication,
        Guarantee::Integrity,
        Guarantee::Confidentiality,
        Guarantee::AntiReplay,
    ])
}

/// A plug with one TLS listener, two affordances and one critical parameter. Everything is in order.
pub fn declaration() -> Declaration {
    let tls = CryptoDetails {
        versions: codes(&[0x0304]),
        suites: codes(&[0x1301, 0x1302]),
        groups: codes(&[0x11eb]),
        signature_schemes: codes(&[0x0403]),
        client_certificate: true,
        replaceable: true,
        ..CryptoDetails::default()
    };
    let affordance = |name: &str, operation, method, access, security_relevant| Affordance {
        name: name.into(),
        kind: AffordanceKind::Property,
        operation,
        listener: "Listener-Api".into(),
        method,
        path: format!("/properties/{name}"),
        access,
        security_relevant,
        states: vec![State::Initialised],
        service: Some("SoftServ-Control".into()),
        sample: Some(serde_json::json!({})),
    };
    let component = Component { name: "rustls".into(), version: "0.23.46".into() };
    let declaration = Declaration {
        dut: Dut {
            manufacturer: "Example Works".into(),
            model: "Smart Plug".into(),
            serial: "plug-000001".into(),
            hardware_version: "A2".into(),
            software_version: "0.1.0".into(),
            state: State::Initialised,
        },
        support: SupportPeriod {
            from: Day::new(2026, 11, 1).unwrap(),
            until: Day::new(2031, 10, 31).unwrap(),
        },
        conditions: Conditions {
            csps_exist: Condition::holds("keys"),
            network_configuration: Condition::holds("permissions can be changed"),
            csps_leave: Condition::holds("network credentials arrive at pairing"),
        },
        listeners: vec![Listener {
            id: "Listener-Api".into(),
            port: 8443,
            purpose: "local control".into(),
            states: vec![State::Initialised],
            authentication: vec!["AuthMech-Home".into()],
            mechanism: Some("ComMech-Api".into()),
            interface: Some("LogIntf-Api".into()),
            ..Listener::default()
        }],
        affordances: vec![
            affordance("power", Operation::ReadProperty, Method::Get, Access::Viewer, false),
            affordance("permissions", Operation::WriteProperty, Method::Put, Access::Owner, true),
        ],
        auth_mech: vec![AuthMech {
            id: "AuthMech-Home".into(),
            description: Twin::new(
                "client certificates of the home",
                ForWhom {
                    user_to_machine: true,
                    network_addressable: true,
                    distinguishes_subjects: true,
                    rejects_invalid: true,
                    authorises_per_subject: true,
                },
            ),
            cryptographic_details: Twin::new(
                "ECDSA in TLS 1.3",
                AuthMeans {
                    kind: AuthKind::ClientCertificate,
                    mechanism: Some("ComMech-Api".into()),
                },
            ),
            ..AuthMech::default()
        }],
        conf: Conf {
            secure_management: Twin::new("confirmed by the maker", true),
            ..Conf::default()
        },
        soft_comp: vec![SoftComp {
            id: "SoftComp-1".into(),
            update_mechanism: vec!["UpdMech-1".into()],
            cryptographic_usage: Twin::new(
                "sizes of keys and messages are not fixed in stored data",
                CryptoUsage { uses: true, side_effects_considered: true },
            ),
            ..SoftComp::default()
        }],
        upd_mech: vec![UpdMech { id: "UpdMech-1".into(), ..UpdMech::default() }],
        sec_param: vec![SecParam {
            id: "SecParam-Net".into(),
            mechanisms: vec!["ComMech-Api".into()],
            description: Twin::new(
                "network credentials",
                SecParamFacts {
                    leaves_device: Reach::Remote,
                    life_cycle: vec!["SecMgmt-1".into()],
                    ..SecParamFacts::default()
                },
            ),
            ..SecParam::default()
        }],
        sec_com_mech: vec![SecComMech {
            id: "ComMech-Api".into(),
            interface: Twin::new(
                "",
                Interface { logical: vec!["LogIntf-Api".into()], remotely_accessible: true },
            ),
            security_guarantees: Twin::new("all", all_guarantees()),
            cryptographic_details: Twin::new("TLS 1.3", vec![tls]),
            ..SecComMech::default()
        }],
        net_sec_impl: vec![NetSecImpl {
            id: "NetSecImpl-1".into(),
            description: Twin::new(
                "",
                ImplFacts {
                    component: component.clone(),
                    kind: ImplKind::Library,
                    scope: BTreeSet::from(["tls".into()]),
                },
            ),
            review_method: Twin::new(
                "",
                vec![Review { kind: ReviewKind::Audit, scope: BTreeSet::from(["tls".into()]) }],
            ),
            report: Twin::new("", vec![ReportRef { reference: "an audit".into(), component }]),
        }],
        soft_serv: vec![SoftServ {
            id: "SoftServ-Control".into(),
            description: Twin::new(
                "",
                ServiceFacts {
                    network: true,
                    states: vec![State::Initialised],
                    network_service: None,
                },
            ),
            allows_configuration: Twin::new("permissions", Configuration::SecurityRelevant),
            authentication: vec!["AuthMech-Home".into()],
            ..SoftServ::default()
        }],
        sec_mgmt: vec![SecMgmt {
            id: "SecMgmt-1".into(),
            description: Twin::new(
                "",
                LifePhase::ALL
                    .into_iter()
                    .map(|phase| PhaseRecord {
                        phase,
                        process: "written process".into(),
                        evidence: Some("ledger entry".into()),
                        at: None,
                    })
                    .collect(),
            ),
        }],
        log_intf: vec![LogIntf { id: "LogIntf-Api".into(), ..LogIntf::default() }],
        ..Declaration::default()
    };
    declaration.check().unwrap();
    declaration
}

pub fn answers(all: &[u16], accepted: &[u16]) -> BTreeMap<CodePoint, Answer> {
    all.iter()
        .map(|code| {
            let answer =
                if accepted.contains(code) { Answer::Accepted } else { Answer::Refused(40) };
            (CodePoint(*code), answer)
        })
        .collect()
}

/// A server that accepts exactly what is declared.
pub fn tls_facts() -> TlsServerFacts {
    TlsServerFacts {
        listener: "Listener-Api".into(),
        address: "127.77.0.1:8443".parse().unwrap(),
        control: true,
        versions: answers(&[0x0300, 0x0301, 0x0302, 0x0303, 0x0304], &[0x0304]),
        suites: BTreeMap::from([(
            CodePoint(0x0304),
            answers(&[0x1301, 0x1302, 0x1303], &[0x1301, 0x1302]),
        )]),
        groups: answers(&[0x11eb, 0x11ec, 23, 29], &[0x11eb]),
        signature_schemes: answers(&[0x0403, 0x0503], &[0x0403]),
        alpn: vec![],
        handshake: Some(HandshakeFacts {
            client_certificate_requested: true,
            signature_valid: true,
            refused_without_certificate: Some(116),
            ..HandshakeFacts::default()
        }),
        certificates: vec![],
    }
}

pub fn owner() -> Subject {
    Subject::Credential { label: "owner".into(), role: Role::Owner }
}

pub fn viewer() -> Subject {
    Subject::Credential { label: "viewer".into(), role: Role::Viewer }
}

/// Everybody who may not is refused, everybody who may gets through.
pub fn access_facts(row: &Affordance) -> AccessFacts {
    let attempts = [Subject::Nobody, Subject::WrongHome, viewer(), owner()]
        .into_iter()
        .map(|subject| {
            let outcome = match &subject {
                Subject::Nobody => Outcome::Alert(116),
                Subject::WrongHome => Outcome::Alert(48),
                known if known.may(row.access) => Outcome::Status(200),
                _ => Outcome::Status(403),
            };
            Attempt { subject, outcome }
        })
        .collect();
    AccessFacts {
        affordance: row.name.clone(),
        operation: row.operation,
        method: row.method,
        path: row.path.clone(),
        listener: row.listener.clone(),
        access: row.access,
        security_relevant: row.security_relevant,
        service: row.service.clone(),
        attempts,
    }
}

pub fn scan_facts(open: &[u16]) -> ScanFacts {
    let tcp = TransportScan {
        tried: 65_535,
        open: open.iter().copied().collect(),
        ..TransportScan::default()
    };
    let udp = TransportScan { tried: 65_535, ..TransportScan::default() };
    ScanFacts {
        target: "127.77.0.1".parse().unwrap(),
        state: State::Initialised,
        transports: BTreeMap::from([(Transport::Tcp, tcp), (Transport::Udp, udp)]),
    }
}

pub fn canary_facts() -> CanaryFacts {
    CanaryFacts {
        capture: "pairing".into(),
        mechanism: Some("ComMech-Api".into()),
        bytes: 5000,
        streams: vec![],
        canaries: vec![CanaryFact {
            label: "network credentials".into(),
            parameter: Some("SecParam-Net".into()),
            sha256: "00".into(),
            searchable: true,
            hits: vec![],
        }],
        control_found: Some(true),
        self_test: true,
    }
}

/// The facts that a run against an orderly device leaves.
pub fn good_facts(declaration: &Declaration) -> Vec<Facts> {
    let mut facts = vec![Facts::TlsServer(tls_facts())];
    facts.extend(declaration.affordances.iter().map(|row| Facts::Access(access_facts(row))));
    facts.push(Facts::CanarySearch(canary_facts()));
    facts.push(Facts::PortScan(scan_facts(&[8443])));
    facts
}

pub fn bundle(declaration: Declaration, facts: Vec<Facts>) -> Bundle {
    let evidence = facts
        .into_iter()
        .enumerate()
        .map(|(index, facts)| Evidence::new(index, "probe", "subject", facts))
        .collect();
    Bundle {
        format: FORMAT.into(),
        made_by: "countersign-assessor test".into(),
        at: Timestamp::from_secs(1_795_400_000),
        target: "127.77.0.1".parse().unwrap(),
        profile: Profile::Bsi,
        declaration,
        credentials: vec![("owner".into(), Role::Owner)],
        statements: vec![],
        assessors: BTreeMap::new(),
        not_run: vec![],
        evidence,
        sha256: String::new(),
    }
    .seal()
}
