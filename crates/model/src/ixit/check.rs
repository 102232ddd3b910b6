//! Whether a declaration is whole: ids are unique and well formed, references lead somewhere.
//!
//! Only form is checked here. That a parameter leaves the device without a mechanism, or that a writable
//! property is open to all, is a matter for a verdict: such a declaration must be readable to be judged.

use super::{Declaration, RowId};
use std::collections::BTreeSet;

/// Something wrong in a declaration, by JSON path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Problem {
    /// For example `10-SecParam[2].mechanisms[0]`.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Every problem of a declaration, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Why a text is not a declaration.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, an unknown or missing key, a wrong type; tells line and column.
    #[error("the declaration cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    /// Readable, but ids or references are wrong.
    #[error("the declaration contradicts itself:\n{0}")]
    Content(#[from] Problems),
}

struct Findings(Vec<Problem>);

impl Findings {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into() });
    }

    fn table<'a>(
        &mut self,
        table: &str,
        ids: impl Iterator<Item = &'a RowId>,
    ) -> BTreeSet<&'a RowId> {
        let mut seen = BTreeSet::new();
        for (row, id) in ids.enumerate() {
            let path = format!("{table}[{row}].id");
            if !id.is_well_formed() {
                self.add(&path, format!("{id:?} is no id: use 1 to 64 of A-Z a-z 0-9 . _ -"));
            }
            if !seen.insert(id) {
                self.add(path, format!("{id} is already the id of another row of this table"));
            }
        }
        seen
    }

    fn reference(&mut self, path: String, id: &RowId, table: &str, known: &BTreeSet<&RowId>) {
        if !known.contains(id) {
            let hint = if known.is_empty() {
                "which has no rows".to_owned()
            } else {
                format!(
                    "which has {}",
                    known.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ")
                )
            };
            self.add(path, format!("{id} is no row of {table}, {hint}"));
        }
    }

    fn references(&mut self, path: &str, ids: &[RowId], table: &str, known: &BTreeSet<&RowId>) {
        for (index, id) in ids.iter().enumerate() {
            self.reference(format!("{path}[{index}]"), id, table, known);
        }
    }
}

impl Declaration {
    /// Checks ids and references.
    ///
    /// # Errors
    /// Every problem found, in the order of the document.
    pub fn check(&self) -> Result<(), Vec<Problem>> {
        let mut found = Findings(Vec::new());
        let listeners = found.table("listeners", self.listeners.iter().map(|row| &row.id));
        let auth = found.table("1-AuthMech", self.auth_mech.iter().map(|row| &row.id));
        found.table("6-SoftComp", self.soft_comp.iter().map(|row| &row.id));
        let updates = found.table("7-UpdMech", self.upd_mech.iter().map(|row| &row.id));
        found.table("10-SecParam", self.sec_param.iter().map(|row| &row.id));
        let mechanisms = found.table("11-SecComMech", self.sec_com_mech.iter().map(|row| &row.id));
        found.table("12-NetSecImpl", self.net_sec_impl.iter().map(|row| &row.id));
        let services = found.table("13-SoftServ", self.soft_serv.iter().map(|row| &row.id));
        let management = found.table("14-SecMgmt", self.sec_mgmt.iter().map(|row| &row.id));
        let physical = found.table("15-PhyIntf", self.phy_intf.iter().map(|row| &row.id));
        let logical = found.table("28-LogIntf", self.log_intf.iter().map(|row| &row.id));

        self.check_scope(&mut found);
        for (row, listener) in self.listeners.iter().enumerate() {
            let at = format!("listeners[{row}]");
            if listener.port == 0 {
                found.add(format!("{at}.port"), "0 is no port to listen on: 1 to 65535");
            }
            found.references(
                &format!("{at}.authentication"),
                &listener.authentication,
                "1-AuthMech",
                &auth,
            );
            if let Some(id) = &listener.mechanism {
                found.reference(format!("{at}.mechanism"), id, "11-SecComMech", &mechanisms);
            }
            if let Some(id) = &listener.interface {
                found.reference(format!("{at}.interface"), id, "28-LogIntf", &logical);
            }
        }
        for (row, affordance) in self.affordances.iter().enumerate() {
            let at = format!("affordances[{row}]");
            found.reference(
                format!("{at}.listener"),
                &affordance.listener,
                "listeners",
                &listeners,
            );
            if !is_request_target(&affordance.path) {
                let message =
                    "must begin with / and hold printable ASCII without spaces, at most 1024 bytes";
                found.add(format!("{at}.path"), message);
            }
            if let Some(id) = &affordance.service {
                found.reference(format!("{at}.service"), id, "13-SoftServ", &services);
            }
        }
        for (row, mechanism) in self.auth_mech.iter().enumerate() {
            if let Some(id) = &mechanism.cryptographic_details.typed.mechanism {
                let path = format!("1-AuthMech[{row}].cryptographic_details.typed.mechanism");
                found.reference(path, id, "11-SecComMech", &mechanisms);
            }
        }
        for (row, component) in self.soft_comp.iter().enumerate() {
            let path = format!("6-SoftComp[{row}].update_mechanism");
            found.references(&path, &component.update_mechanism, "7-UpdMech", &updates);
        }
        for (row, parameter) in self.sec_param.iter().enumerate() {
            let at = format!("10-SecParam[{row}]");
            found.references(
                &format!("{at}.mechanisms"),
                &parameter.mechanisms,
                "11-SecComMech",
                &mechanisms,
            );
            let path = format!("{at}.description.typed.life_cycle");
            found.references(
                &path,
                &parameter.description.typed.life_cycle,
                "14-SecMgmt",
                &management,
            );
        }
        for (row, mechanism) in self.sec_com_mech.iter().enumerate() {
            let path = format!("11-SecComMech[{row}].interface.typed.logical");
            found.references(&path, &mechanism.interface.typed.logical, "28-LogIntf", &logical);
        }
        for (row, service) in self.soft_serv.iter().enumerate() {
            let path = format!("13-SoftServ[{row}].authentication");
            found.references(&path, &service.authentication, "1-AuthMech", &auth);
        }
        for (row, interface) in self.log_intf.iter().enumerate() {
            found.references(
                &format!("28-LogIntf[{row}].access"),
                &interface.access,
                "15-PhyIntf",
                &physical,
            );
        }
        if found.0.is_empty() { Ok(()) } else { Err(found.0) }
    }

    fn check_scope(&self, found: &mut Findings) {
        if self.support.until < self.support.from {
            let message =
                format!("{} lies before support.from, {}", self.support.until, self.support.from);
            found.add("support.until", message);
        }
        let mut provisions = BTreeSet::new();
        for (row, ics) in self.ics.iter().enumerate() {
            if !provisions.insert(&ics.provision) {
                found.add(
                    format!("ics[{row}].provision"),
                    format!("{} has another row already", ics.provision),
                );
            }
        }
    }
}

/// Keeps a path from smuggling a second request or header into a probe.
fn is_request_target(path: &str) -> bool {
    path.len() <= 1024 && path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic())
}
