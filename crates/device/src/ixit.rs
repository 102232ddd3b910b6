//! The declaration for the test lab (IXIT), out of the device's own state: what is declared is what runs.
//!
//! ```text
//!  Thing Description ─► affordances, 13-SoftServ        state, keys ─► 10-SecParam, certificates
//!  listeners ─────────► listeners, 28-LogIntf           policy ──────► 11-SecComMech, 1-AuthMech
//!  processes, ledger ─► 14-SecMgmt                    the maker adds: 12-NetSecImpl (review register), 6, 7, 15, 4, ICS
//! ```

mod access;
mod codes;
mod evidence;
mod mechanisms;
mod parameters;

use self::evidence::Seen;
use crate::agent::AgentError;
use crate::agent::base::declares_mdns;
use crate::config::Config;
use crate::data::{Factory, Record, Store, home_key};
use crate::policy;
use countersign_crypto::certificate::CertificateChain;
use countersign_crypto::policy::CompiledPolicy;
use countersign_crypto::random::SystemRandom;
use countersign_crypto::seal::SealKey;
use countersign_crypto::tls::{Clock as _, SystemClock};
use countersign_model::ixit::{
    Condition, Conditions, Conf, Declaration, Dut, Edition, IcsRow, NetSecImpl, PhyIntf, SecMgmt,
    SoftComp, State, SupportPeriod, UpdMech,
};
use countersign_model::processes::Evidence;
use countersign_model::state::DeviceState;
use countersign_model::thing::ThingDescription;
use countersign_model::time::Day;
use serde::{Deserialize, Serialize};

/// What only the maker knows about a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Maker {
    /// Who makes it.
    pub manufacturer: String,
    /// Model name as sold.
    pub model: String,
    /// Hardware version.
    pub hardware_version: String,
    /// Version of the whole software; empty: this crate's.
    pub software_version: String,
    /// From when until when it is supported.
    pub support: SupportPeriod,
    /// The implementation conformance statement.
    pub ics: Vec<IcsRow>,
    /// The review register (table 12).
    pub reviews: Vec<NetSecImpl>,
    /// Software components (table 6).
    pub components: Vec<SoftComp>,
    /// Update mechanisms (table 7).
    pub updates: Vec<UpdMech>,
    /// Key management processes (table 14) that stand beside the built-in ones.
    pub management: Vec<SecMgmt>,
    /// Records of the built-in processes, from the authority's ledger.
    pub evidence: Vec<Evidence>,
    /// Physical interfaces (table 15).
    pub physical: Vec<PhyIntf>,
    /// Confirmations (table 4).
    pub confirmations: Conf,
}

/// What the device knows of itself.
struct Facts {
    factory: Factory,
    record: Record,
    description: ThingDescription,
    policy: CompiledPolicy,
    config: Config,
    seen: Seen,
}

/// The declaration of the device in `config`'s data folder, running or not: its files are only read.
///
/// # Errors
/// [`AgentError`] when the folder or the Thing Description cannot be read.
pub fn declare(config: &Config, maker: &Maker) -> Result<Declaration, AgentError> {
    let facts = Facts::read(config)?;
    let processes = evidence::rows(&facts, &maker.evidence);
    let state = match facts.record.phase {
        DeviceState::FactoryDefault | DeviceState::Resetting => State::FactoryDefault,
        DeviceState::Pairing => State::Pairing,
        DeviceState::Initialised => State::Initialised,
        DeviceState::Updating => State::Updating,
        DeviceState::Recovery => State::Recovery,
    };
    let software = match maker.software_version.as_str() {
        "" => env!("CARGO_PKG_VERSION").to_owned(),
        version => version.to_owned(),
    };
    Ok(Declaration {
        edition: Edition::default(),
        dut: Dut {
            manufacturer: maker.manufacturer.clone(),
            model: maker.model.clone(),
            serial: facts.factory.thing().to_string(),
            hardware_version: maker.hardware_version.clone(),
            software_version: software,
            state,
        },
        support: maker.support,
        conditions: conditions(),
        ics: maker.ics.clone(),
        listeners: access::listeners(&facts),
        affordances: access::affordances(&facts),
        auth_mech: access::authentication(),
        conf: maker.confirmations.clone(),
        soft_comp: maker.components.clone(),
        upd_mech: maker.updates.clone(),
        sec_param: parameters::parameters(&processes, maker),
        sec_com_mech: mechanisms::mechanisms(&facts),
        net_sec_impl: maker.reviews.clone(),
        soft_serv: access::services(&facts),
        sec_mgmt: processes
            .into_iter()
            .map(|(_, row)| row)
            .chain(maker.management.iter().cloned())
            .collect(),
        phy_intf: maker.physical.clone(),
        log_intf: access::logical(&facts, maker),
    })
}

impl Facts {
    fn read(config: &Config) -> Result<Self, AgentError> {
        let text = std::fs::read(&config.thing)
            .map_err(|error| AgentError::File(config.thing.clone(), error))?;
        let description = ThingDescription::parse(&text)
            .map_err(|errors| AgentError::Thing(config.thing.clone(), errors))?;
        let seal = SealKey::load(&config.data.join("seal.key"))?;
        let factory = Factory::load(&config.data.join("factory"), &seal)?;
        let path = config.data.join("state.sealed");
        let seal = home_key::peek(&config.data, &seal)?;
        let store = Store::open(&path, seal.clone(), Box::new(SystemRandom))?;
        let record = store.get();
        let day = Day::of(SystemClock.now().max(record.time_floor));
        let policy = policy::of_record(record.policy.as_ref(), &factory, day);
        let seen = evidence::look(&config.data, &record, &seal);
        Ok(Self { factory, record, description, policy, config: config.clone(), seen })
    }

    /// Whether the device announces itself, in one state or the other.
    fn announces(&self) -> bool {
        let listens = [self.config.pairing.listen, self.config.api.listen];
        declares_mdns(&self.description)
            && listens.iter().any(|listen| self.config.discovery.announces(listen.ip()))
    }

    /// The chain that the device shows on the local API and the uplink.
    fn operational(&self) -> &CertificateChain {
        let current = self.record.current.as_ref().and_then(|slot| slot.chain.as_ref());
        current.unwrap_or_else(|| self.factory.identity().chain())
    }
}

fn conditions() -> Conditions {
    Conditions {
        csps_exist: Condition::holds(
            "the device has private keys, a setup code verifier and network credentials",
        ),
        network_configuration: Condition::holds(
            "owners change roles and security-relevant properties over the local API",
        ),
        csps_leave: Condition::holds(
            "network credentials and verifiers of invitations reach the device over the home network",
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    #[test]
    fn the_maker_s_part_refuses_unknown_keys() {
        let text = r#"{"manufacturer": "Example Works", "colour": "red"}"#;
        let error = serde_json::from_str::<super::Maker>(text).unwrap_err();
        assert!(error.to_string().contains("colour"));
    }
}
