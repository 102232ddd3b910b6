//! The fleet's handshakes are a pure function of rules. Here it is held against TLS, for every pair of kinds of policy.

use countersign_crypto::certificate::{Certificate, CertificateChain, IdentityKind, IdentityName};
use countersign_crypto::issue::{self, CaTemplate, Eku, Serial, Template};
use countersign_crypto::policy::{CompiledPolicy, Policy, Use};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::{
    ClientRule, Clock as _, Negotiated, PeerAnchors, SystemClock, TlsClient, TlsIdentity, TlsServer,
};
use countersign_model::time::{Day, Timestamp, Validity};
use countersign_simulator::fleet::{Kind, Met, P256, P384, Press, meet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const USE: Use = Use::DeviceUplink;

struct Side {
    ca: Certificate,
    identity: TlsIdentity,
}

fn validity() -> Validity {
    let now = SystemClock.now().as_secs();
    let at = Timestamp::from_secs;
    Validity { not_before: at(now - 3600), not_after: at(now + 3600) }
}

fn side(kind: IdentityKind, name: &str, algorithm: &str) -> Side {
    let algorithm = SignatureAlgorithm::from_name(algorithm).unwrap();
    let (ca_key, key) = (KeyHandle::ephemeral(algorithm), KeyHandle::ephemeral(algorithm));
    let (ca_key, key) = (ca_key.unwrap(), key.unwrap());
    let template = CaTemplate {
        common_name: format!("{name} CA"),
        organisation: "Example".to_owned(),
        country: "DE".to_owned(),
        validity: validity(),
        serial: Serial::random(&mut SystemRandom),
    };
    let ca = issue::self_signed_ca(&template, &ca_key).unwrap();
    let server = kind == IdentityKind::Server;
    let template = Template {
        common_name: name.to_owned(),
        identity: IdentityName::new(kind, name).unwrap(),
        dns: if server { vec!["localhost".to_owned()] } else { Vec::new() },
        ips: Vec::new(),
        eku: Eku { server, client: !server },
        validity: validity(),
        serial: Serial::random(&mut SystemRandom),
        spki_der: key.spki_der().to_vec(),
    };
    let prepared = issue::prepare(&template, &ca, ca_key.algorithm()).unwrap();
    let leaf = issue::sign(prepared, &ca_key).unwrap();
    let chain = CertificateChain::new(vec![leaf]).unwrap();
    Side { ca, identity: TlsIdentity::new(chain, key).unwrap() }
}

async fn really(
    client_policy: &CompiledPolicy,
    device: &Side,
    server_policy: &CompiledPolicy,
    gateway: &Side,
) -> Option<Negotiated> {
    let anchors = PeerAnchors::new().with(IdentityKind::Thing, std::slice::from_ref(&device.ca));
    let rule = ClientRule::Required(anchors);
    let server = TlsServer::new(server_policy, USE, &gateway.identity, &rule, "mqtt").unwrap();
    let (roots, kinds) = (std::slice::from_ref(&gateway.ca), [IdentityKind::Server]);
    let client =
        TlsClient::new(client_policy, USE, Some(&device.identity), roots, &kinds, "mqtt").unwrap();
    let (near, far) = tokio::io::duplex(1 << 16);
    let serve = async {
        let mut channel = server.accept(far).await.ok()?;
        channel.write_all(b"s").await.ok()?;
        channel.flush().await.ok()
    };
    let dial = async {
        let mut channel = client.connect("localhost", near).await.ok()?;
        // In TLS 1.3 the client learns of a refusal with its first read.
        channel.read_u8().await.ok()?;
        Some(channel.negotiated().clone())
    };
    let (served, negotiated) = tokio::join!(serve, dial);
    served.and(negotiated)
}

#[test]
fn what_the_rules_foretell_is_what_tls_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let now = SystemClock.now();
    let mut press = Press::new(now);
    press.first();
    let policies: Vec<CompiledPolicy> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let document = press.publish(kind, 1000, Vec::new());
            press.read(&document)
        })
        .map(|policy: Policy| CompiledPolicy::for_provider(policy, Day::of(now)).unwrap())
        .collect();
    let both = |kind, name| [P256, P384].map(|algorithm| (algorithm, side(kind, name, algorithm)));
    let devices = both(IdentityKind::Thing, "plug-1");
    let gateways = both(IdentityKind::Server, "gateway");
    let (mut agreed, mut refused) = (0, 0);
    for client in &policies {
        for server in &policies {
            // Every combination of certificates where it may matter, one where it does not.
            for (certificate, device) in &devices {
                for (server_certificate, gateway) in &gateways {
                    let foretold = meet(
                        client.rules(USE),
                        certificate,
                        std::slice::from_ref(server.rules(USE)),
                        &[*server_certificate],
                    );
                    let real = runtime.block_on(really(client, device, server, gateway));
                    let seen = real.as_ref().map(|real| Met {
                        version: real.version,
                        suite: real.suite,
                        group: real.group,
                        client: certificate,
                    });
                    assert_eq!(foretold.as_ref().ok(), seen.as_ref(), "{foretold:?} {real:?}");
                    *(if seen.is_some() { &mut agreed } else { &mut refused }) += 1;
                }
            }
        }
    }
    assert!(agreed > 20 && refused > 20, "{agreed}, {refused}");
}
