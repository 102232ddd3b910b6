//! The declaration that an assessment starts from: ICS, IXIT tables, listeners and affordances of one
//! device under test (DUT), in a typed form.
//!
//! ```text
//!  Declaration ─┬─ edition, dut, support, conditions, ics      what is claimed, and why it applies
//!               ├─ listeners ──► 28-LogIntf, 11-SecComMech, 1-AuthMech
//!               ├─ affordances ─► listeners, 13-SoftServ        what a probe can try
//!               └─ tables 1, 4, 6, 7, 10, 11, 12, 13, 14, 15, 28
//! ```
//!
//! Each field of the pro forma that a verdict depends on is a [`Twin`]: the free text of the pro forma and,
//! beside it, the typed form that a check reads. The text is printed and never judged; the typed form is
//! judged and never guessed from the text.
//!
//! Tables and fields: ETSI TS 103 701 V2.1.1, annexes with the ICS and IXIT pro formas; the names of
//! V1.1.1 are told apart by [`Edition`].
//!
//! ```
//! use countersign_model::ixit::*;
//! let declaration = Declaration {
//!     dut: Dut {
//!         manufacturer: "Example Works".into(), model: "Smart Plug".into(), serial: "plug-000001".into(),
//!         hardware_version: "A2".into(), software_version: "0.1.0".into(), state: State::Initialised,
//!     },
//!     listeners: vec![Listener {
//!         id: "Listener-LocalApi".into(), port: 8443, protocol: Protocol::Https,
//!         purpose: "local control by the people of the home".into(),
//!         states: vec![State::Initialised], authentication: vec!["AuthMech-HomeCert".into()],
//!         mechanism: Some("ComMech-LocalApi".into()), interface: Some("LogIntf-LocalApi".into()),
//!         ..Listener::default()
//!     }],
//!     auth_mech: vec![AuthMech { id: "AuthMech-HomeCert".into(), ..AuthMech::default() }],
//!     sec_com_mech: vec![SecComMech { id: "ComMech-LocalApi".into(), ..SecComMech::default() }],
//!     log_intf: vec![LogIntf { id: "LogIntf-LocalApi".into(), ..LogIntf::default() }],
//!     ..Declaration::default()
//! };
//! declaration.check().map_err(Problems)?;
//! let text = declaration.to_json();
//! assert!(text.contains("\"11-SecComMech\""));
//! assert_eq!(Declaration::from_json(&text)?, declaration);
//!
//! // A reference that leads nowhere is named by its JSON path.
//! let mut wrong = declaration.clone();
//! wrong.listeners[0].mechanism = Some("ComMech-Typo".into());
//! let problems = wrong.check().unwrap_err();
//! assert_eq!(problems[0].path, "listeners[0].mechanism");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use serde::{Deserialize, Serialize};

mod access;
mod check;
mod communication;
mod management;
mod scope;
mod words;

pub use access::{
    Access, Affordance, AffordanceKind, AuthKind, AuthMeans, AuthMech, Configuration, ForWhom,
    Listener, Method, Operation, Protocol, ServiceFacts, SoftServ, Transport,
};
pub use check::{Problem, Problems, ReadError};
pub use communication::{
    CertificateDetails, CommUse, CryptoDetails, CryptoProtocol, EndRole, Guarantee, Interface,
    LogIntf, LogIntfFacts, PhyIntf, SecComMech,
};
pub use management::{
    Component, Conf, CryptoUsage, ImplFacts, ImplKind, LifePhase, NetSecImpl, ParamKind,
    ParamOrigin, PhaseRecord, Reach, ReportRef, Review, ReviewKind, SecMgmt, SecParam,
    SecParamFacts, SoftComp, UpdMech, UpdateFacts,
};
pub use scope::{
    Condition, Conditions, Dut, Edition, IcsRow, State, Status, Support, SupportPeriod,
};
pub use words::{CodePoint, Day, RowId, Twin};

/// All that the supplier organisation declares about one device for clause 5.5.
///
/// The JSON keys of the IXIT tables are the table names of the pro forma (`"11-SecComMech"`).
/// Unknown keys are errors. [`Declaration::check`] tells which references lead nowhere.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// Which editions of the provisions and of the test specification the declaration is written for.
    pub edition: Edition,
    /// Which device, in which versions and state.
    pub dut: Dut,
    /// From when until when the maker supports the device: algorithms must last that long.
    pub support: SupportPeriod,
    /// The truth values of C(16), F(n) and F(o), each with its reason.
    pub conditions: Conditions,
    /// The implementation conformance statement, one row a provision; a missing row means support `Y`.
    #[serde(default)]
    pub ics: Vec<IcsRow>,
    /// Every port that the device listens on, in any state.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Every operation of every property, action and event that the local API serves.
    #[serde(default)]
    pub affordances: Vec<Affordance>,
    /// Table 1: authentication mechanisms.
    #[serde(rename = "1-AuthMech", default)]
    pub auth_mech: Vec<AuthMech>,
    /// Table 4: confirmations.
    #[serde(rename = "4-Conf", default)]
    pub conf: Conf,
    /// Table 6: software components.
    #[serde(rename = "6-SoftComp", default)]
    pub soft_comp: Vec<SoftComp>,
    /// Table 7: update mechanisms.
    #[serde(rename = "7-UpdMech", default)]
    pub upd_mech: Vec<UpdMech>,
    /// Table 10: security parameters, public and critical.
    #[serde(rename = "10-SecParam", default)]
    pub sec_param: Vec<SecParam>,
    /// Table 11: secure communication mechanisms (V1.1.1: communication mechanisms).
    #[serde(rename = "11-SecComMech", default)]
    pub sec_com_mech: Vec<SecComMech>,
    /// Table 12: implementations of network and security functions.
    #[serde(rename = "12-NetSecImpl", default)]
    pub net_sec_impl: Vec<NetSecImpl>,
    /// Table 13: software services (functionality).
    #[serde(rename = "13-SoftServ", default)]
    pub soft_serv: Vec<SoftServ>,
    /// Table 14: processes of secure management of critical security parameters.
    #[serde(rename = "14-SecMgmt", default)]
    pub sec_mgmt: Vec<SecMgmt>,
    /// Table 15: physical interfaces (V1.1.1: all interfaces).
    #[serde(rename = "15-PhyIntf", default)]
    pub phy_intf: Vec<PhyIntf>,
    /// Table 28: logical interfaces (V2.1.1 only).
    #[serde(rename = "28-LogIntf", default)]
    pub log_intf: Vec<LogIntf>,
}

impl Declaration {
    /// Reads and checks a declaration.
    ///
    /// # Errors
    /// [`ReadError::Form`] with line and column when the text is not such a JSON document;
    /// [`ReadError::Content`] with every problem by JSON path when references or ids are wrong.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        let declaration: Self = serde_json::from_str(text)?;
        declaration.check().map_err(Problems)?;
        Ok(declaration)
    }

    /// The document as pretty-printed JSON with a stable order of keys.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self)
            .expect("string keys and finite numbers only, so JSON can hold it")
    }

    /// The secure communication mechanism with this id.
    #[must_use]
    pub fn mechanism(&self, id: &RowId) -> Option<&SecComMech> {
        self.sec_com_mech.iter().find(|row| row.id == *id)
    }

    /// The listener with this id.
    #[must_use]
    pub fn listener(&self, id: &RowId) -> Option<&Listener> {
        self.listeners.iter().find(|row| row.id == *id)
    }

    /// The ICS row of a provision such as `5.5-4`.
    #[must_use]
    pub fn ics_row(&self, provision: &str) -> Option<&IcsRow> {
        self.ics.iter().find(|row| row.provision == provision)
    }

    /// The critical security parameters of table 10.
    pub fn critical_parameters(&self) -> impl Iterator<Item = &SecParam> {
        self.sec_param.iter().filter(|row| row.kind == ParamKind::Critical)
    }
}

#[cfg(test)]
mod tests;
