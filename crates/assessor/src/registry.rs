//! The test cases, what they ask, and which probes they need. A new case is a new file and one line here.

/// A group of facts that one probe gathers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Probe {
    /// Every declared TLS listener.
    TlsServer,
    /// Every declared affordance.
    Access,
    /// Every port.
    Ports,
    /// Canaries in captures.
    Canaries,
}

impl Probe {
    /// The word in plans and progress.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TlsServer => "tls-server",
            Self::Access => "access",
            Self::Ports => "ports",
            Self::Canaries => "canaries",
        }
    }
}

/// A test case of TS 103 701.
#[derive(Debug, Clone, Copy)]
pub struct TestCase {
    /// For example `5.5-1-1`.
    pub id: &'static str,
    /// In our words.
    pub title: &'static str,
    /// What it looks at, how this assessor judges it, and what it leaves to people.
    pub explanation: &'static str,
    /// What it needs to see.
    pub probes: &'static [Probe],
}

/// Every test case of groups 5.5-1 to 5.5-8, in order.
pub const TEST_CASES: [TestCase; 14] = [
    TestCase {
        id: "5.5-1-1",
        title: "Cryptography of every mechanism is best practice",
        explanation: "Conceptual, over table 11-SecComMech. a: the guarantees fit the use. b: the mechanism can give them. \
            c: a catalogue lists every version, suite, group and signature scheme until the end of support. d: no feasible attack is known. \
            Decided here: c and d from the algorithm registry and its profile (acm, bsi, nist); what no source lists, or lists only from \
            memory, is INCONCLUSIVE. A statement that ends before support does is discharged by a replaceable layer (5.5-3). \
            Left to people: a and b, and evidence for what is not listed.",
        probes: &[],
    },
    TestCase {
        id: "5.5-1-2",
        title: "The device uses the cryptography that is declared",
        explanation: "Functional. Every declared TLS server is offered every version, suite, group and signature scheme one at a time; what it \
            accepts is compared with table 11. Accepted but not declared is a FAIL. It passes only when every offer got a clear answer and \
            a control offer was accepted before and after. The certificate, client authentication and ALPN are compared too. \
            Not yet tested, so INCONCLUSIVE: mechanisms in which the device is the client, and protocols other than TLS.",
        probes: &[Probe::TlsServer],
    },
    TestCase {
        id: "5.5-2-1",
        title: "Implementations are reviewed or evaluated",
        explanation: "Conceptual, over table 12-NetSecImpl. a: every row names a review; one row without is a FAIL for the whole, and being \
            open about it does not help. b: reviews and reports cover the scope; a part outside every review is a FAIL, \
            and whether a review is good enough is left to people.",
        probes: &[],
    },
    TestCase {
        id: "5.5-2-2",
        title: "The implementation on the device is the reviewed one",
        explanation: "Functional. Name and version on the device match the report. Reading a bill of materials from the device is not part of this \
            assessor yet: INCONCLUSIVE until a signed statement answers.",
        probes: &[],
    },
    TestCase {
        id: "5.5-3-1",
        title: "Algorithms and primitives can be replaced",
        explanation: "Conceptual, over tables 6-SoftComp and 7-UpdMech; there is no functional case. a: every component that uses cryptography names \
            an update mechanism. b: side effects of replacing (V1.1.1: updating) algorithms were considered, and it is said which.",
        probes: &[],
    },
    TestCase {
        id: "5.5-4-1",
        title: "What a network reaches authenticates first",
        explanation: "Conceptual, over tables 13-SoftServ and 1-AuthMech, initialised state. a: every functionality that a network reaches names a \
            mechanism. b: mechanisms tell subjects apart and reject invalid ones. c: their protection resists. d: authorisation grants and denies. \
            Decided here: a, and what contradicts b to d. Left to people: whether b to d are adequate.",
        probes: &[],
    },
    TestCase {
        id: "5.5-4-2",
        title: "The wrong are refused and the right admitted",
        explanation: "Functional, initialised state. Every affordance is tried by a client without certificate, by another home's certificate, by one \
            with copied names, and by the given credentials. a: whoever may not is clearly refused; silence, a failure, or an answer about \
            the content is no refusal. b: whoever may gets through; writing and invoking by right credentials only when commands are allowed. \
            c: the channel is as declared.",
        probes: &[Probe::TlsServer, Probe::Access],
    },
    TestCase {
        id: "5.5-5-1",
        title: "Security-relevant configuration authenticates first",
        explanation: "Conceptual: as 5.5-4-1, for every state, restricted to functionality that changes security-relevant configuration. Network service \
            protocols that the device relies on are excepted and listed.",
        probes: &[],
    },
    TestCase {
        id: "5.5-5-2",
        title: "Security-relevant configuration is closed, and every open port is declared",
        explanation: "Functional. a: as 5.5-4-2 for security-relevant affordances, in every state; states that the device was not in are INCONCLUSIVE. \
            b: every TCP and UDP port of the device is tried; one that answers and is not declared, or is declared closed in this state, is a \
            FAIL. It passes only when every port is clearly open or closed and a declared listener was found. Ports open before the device \
            was started are left out, with that reason.",
        probes: &[Probe::TlsServer, Probe::Access, Probe::Ports],
    },
    TestCase {
        id: "5.5-6-1",
        title: "Critical parameters are encrypted in transit",
        explanation: "Conceptual: as 5.5-1-1 for the mechanisms that critical parameters of table 10 name, with confidentiality among the guarantees. \
            A critical parameter that travels and names no mechanism is a FAIL of its own, so that it cannot slip through by not being listed.",
        probes: &[],
    },
    TestCase {
        id: "5.5-6-2",
        title: "Critical parameters are seen to be encrypted",
        explanation: "Functional: as 5.5-1-2 for those mechanisms; and planted secrets are searched for in recorded traffic, raw and in hexadecimal, base64, \
            URL and UTF-16 forms. Found is a FAIL. Not found counts only when the control text was found in the same capture.",
        probes: &[Probe::TlsServer, Probe::Canaries],
    },
    TestCase {
        id: "5.5-7-1",
        title: "Critical parameters stay confidential on remote interfaces",
        explanation: "Conceptual: as 5.5-6-1, restricted to remotely accessible interfaces.",
        probes: &[],
    },
    TestCase {
        id: "5.5-7-2",
        title: "Critical parameters are seen to stay confidential on remote interfaces",
        explanation: "Functional: as 5.5-6-2, restricted to remotely accessible interfaces. That nothing was seen to leave is not taken to mean that nothing can.",
        probes: &[Probe::TlsServer, Probe::Canaries],
    },
    TestCase {
        id: "5.5-8-1",
        title: "Critical parameters are managed securely all their life",
        explanation: "Conceptual, over tables 10-SecParam, 14-SecMgmt and 4-Conf; there is no functional case. a: every critical parameter has a process for \
            each of six phases: generation, provisioning, storage, updates, decommissioning, expiration and compromise. A missing phase is a \
            FAIL; a phase without a record that the process runs is left to people. b: secure management is confirmed.",
        probes: &[],
    },
];

/// What a test case looks at and how it is judged, for `assess explain`.
#[must_use]
pub fn explain(id: &str) -> Option<&'static str> {
    TEST_CASES.iter().find(|case| case.id == id).map(|case| case.explanation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_explained_once_and_has_a_check() {
        let mut ids: Vec<_> = TEST_CASES.iter().map(|case| case.id).collect();
        ids.dedup();
        assert_eq!(ids.len(), 14);
        for case in TEST_CASES {
            assert!(explain(case.id).is_some_and(|text| text.len() > 60));
            assert!(!case.explanation.contains("  "), "{}", case.id);
        }
        assert_eq!(explain("5.5-9-1"), None);
    }
}
