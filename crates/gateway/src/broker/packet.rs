//! The packets of MQTT 3.1.1 and 5 in one shape each, so that the broker's flows are written once.

use super::message::{Payload, Properties, Qos};

/// Which protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
}

/// What a client sent.
#[derive(Debug)]
pub(crate) enum Incoming {
    Connect(Box<Connect>),
    Publish(Publish),
    Puback {
        id: u16,
    },
    /// `refused`: the client's reason code is an error, which ends the flow.
    Pubrec {
        id: u16,
        refused: bool,
    },
    Pubrel {
        id: u16,
    },
    Pubcomp {
        id: u16,
    },
    Subscribe {
        id: u16,
        subscription_id: Option<u32>,
        entries: Vec<SubscribeEntry>,
    },
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    Ping,
    /// `with_will`: the client asks for its will although it leaves in order.
    Disconnect {
        with_will: bool,
        session_expiry: Option<u32>,
    },
}

#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) client_id: String,
    pub(crate) clean_start: bool,
    /// Seconds; 0 asks for none.
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<WillPacket>,
    /// Seconds that the session outlives the connection; MQTT 3.1.1's persistent sessions ask for `u32::MAX`.
    pub(crate) session_expiry: u32,
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_packet: u32,
    /// Enhanced authentication is asked for, which we do not offer: the certificate is the identity.
    pub(crate) enhanced_auth: bool,
}

#[derive(Debug)]
pub(crate) struct WillPacket {
    pub(crate) topic: String,
    pub(crate) payload: Payload,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) delay_secs: u32,
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) properties: Properties,
}

#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Payload,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// Some and not 0 exactly where `qos` is 1 or 2.
    pub(crate) id: Option<u16>,
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) properties: Properties,
}

#[derive(Debug)]
pub(crate) struct SubscribeEntry {
    pub(crate) filter: String,
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: RetainHandling,
}

/// When a subscription brings the retained messages (MQTT 5.0 section 3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetainHandling {
    Always,
    IfNew,
    Never,
}

/// What is wrong with bytes from a client. `code` is the MQTT 5 reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Malformed,
    Protocol,
    TooLarge,
    TopicAlias,
    /// A CONNECT of a protocol level that is neither 4 nor 5.
    UnknownVersion,
}

/// What the broker answers. `code`s are MQTT 5 reason codes; MQTT 3.1.1 gets the nearest that it has.
#[derive(Debug)]
pub(crate) enum Outgoing<'a> {
    Connack {
        session_present: bool,
        code: u8,
        facts: ConnackFacts<'a>,
    },
    Publish(OutgoingPublish<'a>),
    Puback {
        id: u16,
        code: u8,
    },
    Pubrec {
        id: u16,
        code: u8,
    },
    Pubrel {
        id: u16,
        code: u8,
    },
    Pubcomp {
        id: u16,
        code: u8,
    },
    Suback {
        id: u16,
        codes: Vec<u8>,
    },
    Unsuback {
        id: u16,
        codes: Vec<u8>,
    },
    Pong,
    /// MQTT 5 only: MQTT 3.1.1 has no DISCONNECT from a server.
    Disconnect {
        code: u8,
        /// A sentence for whoever reads the client's log.
        why: Option<&'a str>,
    },
}

/// What a CONNACK tells a client of MQTT 5.
#[derive(Debug, Default)]
pub(crate) struct ConnackFacts<'a> {
    pub(crate) assigned_client_id: Option<&'a str>,
    pub(crate) keep_alive: Option<u16>,
    pub(crate) session_expiry: Option<u32>,
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_packet: u32,
    pub(crate) topic_alias_maximum: u16,
    /// A sentence for whoever reads the client's log, with a refusal.
    pub(crate) why: Option<&'a str>,
}

#[derive(Debug)]
pub(crate) struct OutgoingPublish<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a Payload,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) id: Option<u16>,
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) properties: &'a Properties,
    pub(crate) subscription_ids: &'a [u32],
}

/// The MQTT 5 reason codes that we use (MQTT 5.0 section 2.4).
pub(crate) mod code {
    pub(crate) const SUCCESS: u8 = 0x00;
    pub(crate) const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;
    pub(crate) const MALFORMED: u8 = 0x81;
    pub(crate) const PROTOCOL_ERROR: u8 = 0x82;
    pub(crate) const CLIENT_ID_NOT_VALID: u8 = 0x85;
    pub(crate) const NOT_AUTHORIZED: u8 = 0x87;
    pub(crate) const SERVER_SHUTTING_DOWN: u8 = 0x8b;
    pub(crate) const BAD_AUTHENTICATION_METHOD: u8 = 0x8c;
    pub(crate) const KEEP_ALIVE_TIMEOUT: u8 = 0x8d;
    pub(crate) const SESSION_TAKEN_OVER: u8 = 0x8e;
    pub(crate) const TOPIC_FILTER_INVALID: u8 = 0x8f;
    pub(crate) const TOPIC_NAME_INVALID: u8 = 0x90;
    pub(crate) const PACKET_ID_NOT_FOUND: u8 = 0x92;
    pub(crate) const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;
    pub(crate) const TOPIC_ALIAS_INVALID: u8 = 0x94;
    pub(crate) const PACKET_TOO_LARGE: u8 = 0x95;
    pub(crate) const QUOTA_EXCEEDED: u8 = 0x97;
    pub(crate) const ADMINISTRATIVE_ACTION: u8 = 0x98;
    pub(crate) const UNSUPPORTED_VERSION: u8 = 0x84;
    pub(crate) const MAXIMUM_CONNECT_TIME: u8 = 0xa0;
}
