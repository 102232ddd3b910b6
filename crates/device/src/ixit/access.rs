//! Who reaches what: listeners, affordances, tables 1, 13 and 28.

use super::mechanisms::{LOCAL_API, PAIRING, UPLINK, all_guarantees};
use super::{Facts, Maker};
use countersign_model::ixit::{
    Access, Affordance, AffordanceKind, AuthKind, AuthMeans, AuthMech, Configuration, ForWhom,
    Listener, LogIntf, LogIntfFacts, Method, Operation, Protocol, RowId, ServiceFacts, SoftServ,
    State, Status, Transport, Twin,
};
use countersign_model::thing::{self, ACCESS, INVITE, NETWORK, Need, RESET, Rule, href};
use countersign_protocol::invitation::MAX_GUESSES;
use countersign_protocol::pairing::{ALPN, MAX_ATTEMPTS};
use serde_json::{Value, json};

const HOME_CERT: &str = "AuthMech-HomeCert";
const SETUP_CODE: &str = "AuthMech-SetupCode";
const INVITATION: &str = "AuthMech-Invitation";
const GATEWAY: &str = "AuthMech-Gateway";
/// The row of multicast DNS among the logical interfaces.
const MDNS: &str = "LogIntf-Mdns";
const LISTENER: &str = "Listener-LocalApi";

/// The listeners whose ports are known: configured ones, and those that the device took and keeps.
pub(super) fn listeners(facts: &Facts) -> Vec<Listener> {
    let name = format!("{}.local", facts.factory.thing());
    let port = |configured: u16, kept: u16| if configured == 0 { kept } else { configured };
    let (pairing, api) = (facts.config.pairing.listen, facts.config.api.listen);
    let pairing = Listener {
        id: "Listener-Pairing".into(),
        address: Some(pairing.ip()),
        port: port(pairing.port(), facts.record.pairing_port),
        protocol: Protocol::Tls(ALPN.to_owned()),
        purpose: "taking the device into a home; closed as soon as it belongs to one".to_owned(),
        states: vec![State::Pairing],
        authentication: vec![SETUP_CODE.into()],
        mechanism: Some(PAIRING.into()),
        interface: Some("LogIntf-Pairing".into()),
        alpn: vec![ALPN.to_owned()],
        alpn_required: true,
        server_name: Some(name.clone()),
        ..Listener::default()
    };
    let api = Listener {
        id: LISTENER.into(),
        address: Some(api.ip()),
        port: port(api.port(), facts.record.api_port),
        protocol: Protocol::Https,
        purpose: "control by the people of the home".to_owned(),
        states: vec![State::Initialised, State::Updating, State::Recovery],
        authentication: vec![HOME_CERT.into()],
        mechanism: Some(LOCAL_API.into()),
        interface: Some("LogIntf-LocalApi".into()),
        alpn: crate::api::ALPN.map(str::to_owned).to_vec(),
        server_name: Some(name),
        ..Listener::default()
    };
    let product =
        facts.config.product_listeners.iter().enumerate().map(|(index, listener)| Listener {
            id: format!("Listener-Product-{}", index + 1).into(),
            address: Some(listener.address.ip()),
            port: listener.address.port(),
            protocol: Protocol::Other("the product's own".to_owned()),
            purpose: listener.purpose.clone(),
            states: State::ALL.to_vec(),
            ..Listener::default()
        });
    let mdns = facts.announces().then(|| Listener {
        id: "Listener-Mdns".into(),
        transport: Transport::Udp,
        port: facts.config.discovery.port,
        protocol: Protocol::Mdns,
        purpose: "announcing the device on the home network, under a name that changes".to_owned(),
        states: State::ALL.to_vec(),
        interface: Some(MDNS.into()),
        ..Listener::default()
    });
    [pairing, api]
        .into_iter()
        .chain(mdns)
        .chain(product)
        .filter(|listener| listener.port != 0)
        .collect()
}

/// Every operation that the local API serves.
pub(super) fn affordances(facts: &Facts) -> Vec<Affordance> {
    if !listeners(facts).iter().any(|listener| listener.id.as_str() == LISTENER) {
        return Vec::new();
    }
    let access = facts.record.home.as_ref().map(|home| json!(home.access)).unwrap_or_default();
    let rules = facts.description.rules();
    let mut rows: Vec<Affordance> = rules.map(|rule| affordance(&rule, &access)).collect();
    for (name, path) in [("thing", "/.well-known/wot"), ("properties", "/properties")] {
        rows.push(extra(name, Operation::ReadProperty, Method::Get, path, Access::Viewer));
    }
    // A stand-in name: changes of it are refused to all but owners, whoever it is.
    let person = access[0]["person"].as_str().unwrap_or("nobody");
    let path = format!("/access/{person}");
    rows.push(extra(ACCESS, Operation::ReadProperty, Method::Get, &path, Access::Owner));
    let mut put = extra(ACCESS, Operation::WriteProperty, Method::Put, &path, Access::Owner);
    // Putting what is there already changes nothing.
    put.sample = Some(json!({ "role": access[0]["role"] }));
    rows.push(put);
    rows.push(extra(ACCESS, Operation::WriteProperty, Method::Delete, &path, Access::Owner));
    rows
}

fn affordance(rule: &Rule<'_>, access: &Value) -> Affordance {
    let (operation, method) = match rule.operation {
        thing::Operation::WriteProperty => (Operation::WriteProperty, Method::Put),
        thing::Operation::InvokeAction => (Operation::InvokeAction, Method::Post),
        thing::Operation::ObserveProperty => (Operation::ObserveProperty, Method::Get),
        thing::Operation::SubscribeEvent => (Operation::SubscribeEvent, Method::Get),
        thing::Operation::ReadProperty => (Operation::ReadProperty, Method::Get),
    };
    let least = match rule.need {
        Need::Open => Access::Nosec,
        Need::Role(role) => Access::from(Some(role)),
    };
    let path = href(rule.operation.kind(), rule.name);
    let mut row = extra(rule.name.as_str(), operation, method, &path, least);
    row.security_relevant = rule.security_relevant && operation.changes();
    row.service = Some(service_of(rule));
    row.sample = match rule.name.as_str() {
        ACCESS if operation.changes() => Some(access.clone()),
        _ => rule.input.and_then(sample),
    };
    row
}

fn service_of(rule: &Rule<'_>) -> RowId {
    let relevant = rule.security_relevant && rule.operation.changes();
    if relevant { "SoftServ-Configuration".into() } else { "SoftServ-Functions".into() }
}

fn extra(
    name: &str,
    operation: Operation,
    method: Method,
    path: &str,
    access: Access,
) -> Affordance {
    let kind = match operation {
        Operation::InvokeAction => AffordanceKind::Action,
        Operation::SubscribeEvent => AffordanceKind::Event,
        _ => AffordanceKind::Property,
    };
    let relevant = name == ACCESS && operation.changes();
    Affordance {
        name: name.to_owned(),
        kind,
        operation,
        listener: LISTENER.into(),
        method,
        path: path.to_owned(),
        access,
        security_relevant: relevant,
        states: vec![State::Initialised],
        service: Some(
            if relevant { "SoftServ-Configuration" } else { "SoftServ-Functions" }.into(),
        ),
        sample: None,
    }
}

/// Some value that fits the schema.
fn sample(schema: &thing::DataSchema) -> Option<Value> {
    let candidates = [
        json!(true),
        json!(3000),
        json!(100),
        json!(10),
        json!(1),
        json!(0),
        json!("sample"),
        json!([]),
        json!({}),
        Value::Null,
    ];
    candidates.into_iter().find(|value| schema.validate(value).is_ok())
}

pub(super) fn authentication() -> Vec<AuthMech> {
    let row = |id: &str, text: &str, user: bool, kind: AuthKind, mechanism: &str, limit| AuthMech {
        id: id.into(),
        description: Twin::new(
            text,
            ForWhom {
                user_to_machine: user,
                network_addressable: true,
                distinguishes_subjects: true,
                rejects_invalid: true,
                authorises_per_subject: true,
            },
        ),
        security_guarantees: Twin::new("as the mechanism that carries it", all_guarantees()),
        cryptographic_details: Twin::new(
            format!("see {mechanism}"),
            AuthMeans { kind, mechanism: Some(mechanism.into()) },
        ),
        brute_force_prevention: limit,
        ..AuthMech::default()
    };
    let keys = || Twin::new("a private key of at least 128 bit strength cannot be guessed", None);
    let mut home = row(
        HOME_CERT,
        "persons of the home by client certificate; each request is judged by the person's role on the access list, and refused without telling why",
        true,
        AuthKind::ClientCertificate,
        LOCAL_API,
        keys(),
    );
    home.authentication_factor = "possession of the person's private key".to_owned();
    let mut setup = row(
        SETUP_CODE,
        "whoever holds the label proves the setup code once and becomes, by name, the first owner",
        true,
        AuthKind::Pake,
        PAIRING,
        Twin::new(
            "attempts are counted before they are answered, kept over restarts, slowed and limited",
            Some(MAX_ATTEMPTS),
        ),
    );
    setup.authentication_factor = "the setup code on the label".to_owned();
    setup.password_generation = "130 random bits for each device, by the factory".to_owned();
    let mut invitation = row(
        INVITATION,
        "whoever proves an invitation's one-time code becomes, with a key of their own, the one person in the one role that an owner named",
        true,
        AuthKind::Pake,
        LOCAL_API,
        Twin::new(
            "guesses are counted before they are answered; a few end the invitation",
            Some(MAX_GUESSES),
        ),
    );
    invitation.authentication_factor = "the invitation's one-time code".to_owned();
    invitation.password_generation =
        "130 random bits for each invitation, by the owner's controller".to_owned();
    let mut gateway = row(
        GATEWAY,
        "the gateway by server certificate; services by the gateway's stamp, with a member's rights at most",
        false,
        AuthKind::Other("server certificate and stamped commands".to_owned()),
        UPLINK,
        keys(),
    );
    gateway.authentication_factor = "possession of the gateway's private key".to_owned();
    vec![home, setup, invitation, gateway]
}

pub(super) fn services(facts: &Facts) -> Vec<SoftServ> {
    let row =
        |id: &str, text: &str, states: &[State], configuration, authentication: &[&str]| SoftServ {
            id: id.into(),
            description: Twin::new(
                text,
                ServiceFacts { network: true, states: states.to_vec(), network_service: None },
            ),
            status: Status::Enabled,
            justification: "the purpose of the device".to_owned(),
            allows_configuration: Twin::new(format!("{configuration:?}"), configuration),
            authentication: authentication.iter().map(|id| (*id).into()).collect(),
        };
    let home = [State::Initialised];
    let (ordinary, relevant) = (Configuration::Ordinary, Configuration::SecurityRelevant);
    let functions = "properties and actions of the Thing Description";
    let configuration = format!(
        "what is marked security-relevant there, with the built-in {ACCESS} (roles), {INVITE}, {NETWORK} and {RESET}"
    );
    let mut rows = vec![
        row("SoftServ-Functions", functions, &home, ordinary, &[HOME_CERT, GATEWAY]),
        row("SoftServ-Configuration", &configuration, &home, relevant, &[HOME_CERT]),
        row(
            "SoftServ-Pairing",
            "taking the device into a home",
            &[State::Pairing],
            relevant,
            &[SETUP_CODE],
        ),
    ];
    for service in facts.description.network_services() {
        rows.push(SoftServ {
            id: format!("SoftServ-{}", service.protocol).into(),
            description: Twin::new(
                service.reason.clone(),
                ServiceFacts {
                    network: true,
                    states: State::ALL.to_vec(),
                    network_service: Some(service.reason.clone()),
                },
            ),
            status: match service.protocol {
                thing::NetworkProtocol::Mdns if !facts.announces() => Status::Disabled,
                _ => Status::Enabled,
            },
            justification: service.reason.clone(),
            allows_configuration: Twin::new("network addresses only", Configuration::None),
            authentication: Vec::new(),
        });
    }
    rows
}

pub(super) fn logical(facts: &Facts, maker: &Maker) -> Vec<LogIntf> {
    let access: Vec<RowId> =
        maker.physical.iter().filter(|row| !row.debug).map(|row| row.id.clone()).collect();
    let row = |id: &str, text: &str, outgoing_only, disclosed: &str| LogIntf {
        id: id.into(),
        description: Twin::new(text, LogIntfFacts { outgoing_only }),
        access: access.clone(),
        status: Status::Enabled,
        disclosed_information: disclosed.to_owned(),
        resilience:
            "bounded connections, sizes and times; failed accepts and lost peers end nothing"
                .to_owned(),
    };
    let certificate = "the device's certificate with its serial, to whoever connects";
    let mut rows = vec![
        row(
            "LogIntf-Pairing",
            "the pairing interface, before the device belongs to a home",
            false,
            certificate,
        ),
        row(
            "LogIntf-LocalApi",
            "the local API, while the device belongs to a home",
            false,
            certificate,
        ),
        row("LogIntf-Uplink", "connections to the maker's gateway and enrolment", true, "none"),
    ];
    if facts.announces() {
        rows.push(row(
            MDNS,
            "multicast DNS: announces the device and answers questions for it; takes nothing else",
            false,
            "address, port, and a random name that changes every 10 to 20 minutes; before pairing, one name with 16 bits of a keyed hash of the serial",
        ));
    }
    rows
}
