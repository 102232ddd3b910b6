//! As a command, but only a ConfigurePermit opens it; over the local API's mutual TLS with the home's certificates.

use countersign_model::role::Role;
use countersign_model::thing::Operation;
use countersign_protocol::permit::device::{Cause, Refusal, Request, Subject};
use countersign_simulator::{Plug, World};
use serde_json::{Value, json};

fn share(
    plug: &mut Plug,
    subject: &Subject,
    list: &Value,
    world: &World,
) -> Result<Value, Refusal> {
    let input = list.to_string();
    let request = Request::new(Operation::WriteProperty, "access", input.as_bytes()).unwrap();
    plug.handle(subject, &request, world.now())
}

fn toggle(plug: &mut Plug, subject: &Subject, world: &World) -> Result<Value, Refusal> {
    let request = Request::new(Operation::InvokeAction, "toggle", b"").unwrap();
    plug.handle(subject, &request, world.now())
}

#[test]
fn owners_share_and_nobody_else() {
    let mut world = World::new(41);
    let mut plug = world.paired_plug("plug-000001");
    let (ada, bob) = (world.owner.person("ada"), world.owner.person("bob"));
    let owner = world.at_home(&plug, Some(&ada)).unwrap();
    assert!(matches!(owner, Subject::Person { role: Role::Owner, .. }));
    // Bob has a certificate of the home; that alone is nothing.
    assert_eq!(world.at_home(&plug, Some(&bob)).unwrap(), Subject::Anonymous);

    let ada_and =
        |role: &str| json!([{"person": "ada", "role": "owner"}, {"person": "bob", "role": role}]);
    assert_eq!(
        share(&mut plug, &owner, &ada_and("viewer"), &world).unwrap(),
        json!({"changed": true})
    );
    let viewer = world.at_home(&plug, Some(&bob)).unwrap();
    assert!(matches!(viewer, Subject::Person { role: Role::Viewer, .. }));
    assert_eq!(toggle(&mut plug, &viewer, &world).unwrap_err().cause(), Some(Cause::Forbidden));
    assert_eq!(
        share(&mut plug, &viewer, &ada_and("owner"), &world).unwrap_err().cause(),
        Some(Cause::Forbidden)
    );

    share(&mut plug, &owner, &ada_and("member"), &world).unwrap();
    let member = world.at_home(&plug, Some(&bob)).unwrap();
    assert_eq!(toggle(&mut plug, &member, &world).unwrap(), json!({"on": true}));
    assert_eq!(
        share(&mut plug, &member, &ada_and("owner"), &world).unwrap_err().cause(),
        Some(Cause::Forbidden)
    );

    share(&mut plug, &owner, &json!([{"person": "ada", "role": "owner"}]), &world).unwrap();
    assert_eq!(world.at_home(&plug, Some(&bob)).unwrap(), Subject::Anonymous);
    // Ownership can be handed over, and never given up.
    let bob_alone = |role: &str| json!([{"person": "bob", "role": role}]);
    share(&mut plug, &owner, &bob_alone("owner"), &world).unwrap();
    let owner = world.at_home(&plug, Some(&bob)).unwrap();
    let refused = share(&mut plug, &owner, &bob_alone("viewer"), &world).unwrap();
    assert!(refused["refused"].as_str().unwrap().contains("last owner"));
}

#[test]
fn strangers_find_open_data_or_a_closed_door() {
    let mut world = World::new(42);
    let mut plug = world.paired_plug("plug-000001");
    let nobody = world.at_home(&plug, None).unwrap();
    assert_eq!(nobody, Subject::Anonymous);
    let read = |name| Request::new(Operation::ReadProperty, name, b"").unwrap();
    assert!(plug.handle(&nobody, &read("model"), world.now()).is_ok());
    assert!(plug.handle(&nobody, &read("power"), world.now()).is_err());
    assert!(toggle(&mut plug, &nobody, &world).is_err());
    // Somebody called ada, too, but of another home: the handshake fails.
    let other = world.another_home("ada");
    assert!(world.at_home(&plug, Some(&other.person("ada"))).is_err());
}

#[test]
fn a_certificate_that_ends_ends_what_hangs_on_it() {
    let mut world = World::new(43);
    let mut plug = world.paired_plug("plug-000001");
    let ada = world.owner.person("ada");
    let owner = world.at_home(&plug, Some(&ada)).unwrap();
    assert!(toggle(&mut plug, &owner, &world).is_ok());
    // The connection is still open when the certificate ends.
    world
        .clock
        .set(ada.chain().leaf().validity().not_after.plus(std::time::Duration::from_millis(1)));
    let refused = toggle(&mut plug, &owner, &world).unwrap_err();
    assert_eq!(refused.cause(), Some(Cause::Unauthenticated));
}
