#![allow(clippy::unwrap_used)]
use super::*;

fn small() -> Declaration {
    Declaration {
        sec_com_mech: vec![SecComMech { id: "ComMech-1".into(), ..SecComMech::default() }],
        sec_param: vec![SecParam {
            id: "SecParam-1".into(),
            mechanisms: vec!["ComMech-1".into()],
            ..SecParam::default()
        }],
        ..Declaration::default()
    }
}

#[test]
fn a_whole_declaration_survives_json() {
    let declaration = small();
    assert_eq!(Declaration::from_json(&declaration.to_json()).unwrap(), declaration);
}

#[test]
fn unknown_keys_are_errors_at_every_depth() {
    let mut top: serde_json::Value = serde_json::from_str(&small().to_json()).unwrap();
    top["11-ComMech"] = serde_json::json!([]);
    assert!(matches!(Declaration::from_json(&top.to_string()), Err(ReadError::Form(_))));
    let mut deep: serde_json::Value = serde_json::from_str(&small().to_json()).unwrap();
    deep["11-SecComMech"][0]["interface"]["typed"]["remote"] = serde_json::json!(true);
    let error = Declaration::from_json(&deep.to_string()).unwrap_err().to_string();
    assert!(error.contains("unknown field `remote`"), "{error}");
}

#[test]
fn every_reference_is_followed() {
    let mut declaration = small();
    declaration.sec_param[0].mechanisms.push("ComMech-2".into());
    declaration.sec_param[0].description.typed.life_cycle.push("SecMgmt-1".into());
    declaration.sec_com_mech[0].interface.typed.logical.push("LogIntf-1".into());
    declaration.auth_mech.push(AuthMech {
        id: "AuthMech-1".into(),
        cryptographic_details: Twin::new(
            "",
            AuthMeans { mechanism: Some("X".into()), ..AuthMeans::default() },
        ),
        ..AuthMech::default()
    });
    declaration.soft_comp.push(SoftComp {
        id: "SoftComp-1".into(),
        update_mechanism: vec!["UpdMech-1".into()],
        ..SoftComp::default()
    });
    declaration.soft_serv.push(SoftServ {
        id: "SoftServ-1".into(),
        authentication: vec!["AuthMech-2".into()],
        ..SoftServ::default()
    });
    declaration.log_intf.push(LogIntf {
        id: "LogIntf-2".into(),
        access: vec!["PhyIntf-1".into()],
        ..LogIntf::default()
    });
    let paths: Vec<_> =
        declaration.check().unwrap_err().into_iter().map(|problem| problem.path).collect();
    assert_eq!(
        paths,
        [
            "1-AuthMech[0].cryptographic_details.typed.mechanism",
            "6-SoftComp[0].update_mechanism[0]",
            "10-SecParam[0].mechanisms[1]",
            "10-SecParam[0].description.typed.life_cycle[0]",
            "11-SecComMech[0].interface.typed.logical[0]",
            "13-SoftServ[0].authentication[0]",
            "28-LogIntf[0].access[0]",
        ]
    );
}

#[test]
fn ids_are_unique_and_well_formed() {
    let mut declaration = small();
    declaration.sec_com_mech.push(declaration.sec_com_mech[0].clone());
    declaration.sec_com_mech.push(SecComMech { id: "with space".into(), ..SecComMech::default() });
    let paths: Vec<_> =
        declaration.check().unwrap_err().into_iter().map(|problem| problem.path).collect();
    assert_eq!(paths, ["11-SecComMech[1].id", "11-SecComMech[2].id"]);
}

#[test]
fn a_path_cannot_smuggle_a_request() {
    let mut declaration = small();
    declaration.listeners.push(Listener { id: "L".into(), port: 1, ..Listener::default() });
    for path in ["x", "/a b", "/a\r\nHost: b", "", "/\u{e4}"] {
        declaration.affordances = vec![Affordance {
            name: "relay".into(),
            kind: AffordanceKind::Property,
            operation: Operation::ReadProperty,
            listener: "L".into(),
            method: Method::Get,
            path: path.into(),
            access: Access::Viewer,
            security_relevant: false,
            states: vec![State::Initialised],
            service: None,
            sample: None,
        }];
        assert_eq!(declaration.check().unwrap_err()[0].path, "affordances[0].path", "{path:?}");
    }
}

#[test]
fn code_points_and_days_have_one_spelling() {
    assert_eq!(serde_json::to_string(&CodePoint(0x1301)).unwrap(), "\"0x1301\"");
    for bad in ["\"1301\"", "\"0x131\"", "\"0x+130\"", "\"0x13011\"", "4865"] {
        assert!(serde_json::from_str::<CodePoint>(bad).is_err(), "{bad}");
    }
    let day: Day = serde_json::from_str("\"2031-12-31\"").unwrap();
    assert_eq!(Some(day), Day::end_of(2031));
    for bad in [
        "\"2031-02-29\"",
        "\"2031-1-1\"",
        "\"31-12-2031\"",
        "\"2031-12-31T00:00\"",
        "\"+031-12-31\"",
    ] {
        assert!(serde_json::from_str::<Day>(bad).is_err(), "{bad}");
    }
    assert_eq!(Day::of(crate::time::Timestamp::from_secs(1_700_000_000)).to_string(), "2023-11-14");
}
