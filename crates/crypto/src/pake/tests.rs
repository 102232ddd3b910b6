use super::*;
use crate::random::SystemRandom;

// RFC 9383 appendix C, first vector: SPAKE2+-P256-SHA256-HKDF-SHA256-HMAC-SHA256, client and server.
const W0: &str = "\
    bb8e1bbcf3c48f62c08db243652ae55d3e5586053fca77102994f23ad95491b3";
const W1: &str = "\
    7e945f34d78785b8a3ef44d0df5a1a97d6b3b460409a345ca7830387a74b1dba";
const L: &str = "\
    04eb7c9db3d9a9eb1f8adab81b5794c1f13ae3e225efbe91ea487425854c7fc00f00bfedcbd09b2400142d40a14f2064\
    ef31dfaa903b91d1faea7093d835966efd";
const X: &str = "\
    d1232c8e8693d02368976c174e2088851b8365d0d79a9eee709c6a05a2fad539";
const SHARE_P: &str = "\
    04ef3bd051bf78a2234ec0df197f7828060fe9856503579bb1733009042c15c0c1de127727f418b5966afadfdd95a6e4\
    591d171056b333dab97a79c7193e341727";
const Y: &str = "\
    717a72348a182085109c8d3917d6c43d59b224dc6a7fc4f0483232fa6516d8b3";
const SHARE_V: &str = "\
    04c0f65da0d11927bdf5d560c69e1d7d939a05b0e88291887d679fcadea75810fb5cc1ca7494db39e82ff2f50665255d\
    76173e09986ab46742c798a9a68437b048";
const CONFIRM_P: &str = "\
    926cc713504b9b4d76c9162ded04b5493e89109f6d89462cd33adc46fda27527";
const CONFIRM_V: &str = "\
    9747bcc4f8fe9f63defee53ac9b07876d907d55047e6ff2def2e7529089d3e68";
const K_SHARED: &str = "\
    0c5f8ccd1413423a54f6c1fb26ff01534a87f893779c6e68666d772bfd91f3e7";

const RFC: RunContext<'static> = RunContext {
    context: b"SPAKE2+-P256-SHA256-HKDF-SHA256-HMAC-SHA256 Test Vectors",
    prover: b"client",
    verifier: b"server",
};

/// Gives the scalar that the vector prints: 64 bytes that reduce to it.
struct Replay(Vec<u8>);

impl Replay {
    fn scalar(text: &str) -> Self {
        let scalar = hex::decode(text).unwrap();
        Self([vec![0; 64 - scalar.len()], scalar].concat())
    }
}

impl Random for Replay {
    fn fill(&mut self, out: &mut [u8]) {
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&self.0);
        self.0 = rest;
    }
}

fn rfc_secret() -> ProverSecret {
    let output: Vec<u8> =
        [W0, W1].iter().flat_map(|w| [vec![0; 8], hex::decode(w).unwrap()].concat()).collect();
    ProverSecret(spake2plus::ProverSecret::from_pbkdf_output(&output).unwrap())
}

#[test]
fn rfc_9383_vector_through_both_halves() {
    let secret = rfc_secret();
    let record = secret.record().to_secret();
    assert_eq!(record.expose(|bytes| hex::encode(bytes)), format!("{W0}{L}"));
    let record = record.expose(VerifierRecord::from_bytes).unwrap();
    let (prover, share_p) = Prover::start(&secret, &RFC, &mut Replay::scalar(X));
    assert_eq!(hex::encode(share_p), SHARE_P);
    let (device, answer) =
        Verifier::respond(&record, &RFC, &share_p, &mut Replay::scalar(Y)).unwrap();
    assert_eq!(hex::encode(answer.share_v), SHARE_V);
    assert_eq!(hex::encode(answer.confirm_v), CONFIRM_V);
    let (confirm_p, ours) = prover.finish(&answer.share_v, &answer.confirm_v).unwrap();
    assert_eq!(hex::encode(confirm_p), CONFIRM_P);
    assert_eq!(ours.expose(|bytes| hex::encode(bytes)), K_SHARED);
    assert_eq!(device.finish(&confirm_p).unwrap().expose(|bytes| hex::encode(bytes)), K_SHARED);
}

fn cheap(salt: u8) -> PakeParams {
    PakeParams::new([salt; 16], PakeParams::MIN_MEMORY_KIB, 1, 1).unwrap()
}

fn run(ours: &ProverSecret, theirs: &ProverSecret, other: RunContext<'_>) -> Result<(), PakeError> {
    let mut random = SystemRandom;
    let (prover, share_p) = Prover::start(ours, &RFC, &mut random);
    let (device, answer) = Verifier::respond(&theirs.record(), &other, &share_p, &mut random)?;
    let (confirm_p, _) = prover.finish(&answer.share_v, &answer.confirm_v)?;
    device.finish(&confirm_p).map(drop)
}

#[test]
fn code_thing_salt_cost_channel_and_names_all_count() {
    let code = SetupCode::from_entropy([1; 17]);
    let (plug, lamp) = ("plug-1".parse().unwrap(), "lamp-1".parse().unwrap());
    let right = derive(&code, &plug, &cheap(1)).unwrap();
    assert_eq!(run(&right, &derive(&code, &plug, &cheap(1)).unwrap(), RFC), Ok(()));
    let dearer = PakeParams::new([1; 16], PakeParams::MIN_MEMORY_KIB, 2, 1).unwrap();
    for other in [
        derive(&SetupCode::from_entropy([2; 17]), &plug, &cheap(1)),
        derive(&code, &lamp, &cheap(1)),
        derive(&code, &plug, &cheap(2)),
        derive(&code, &plug, &dearer),
    ] {
        assert_eq!(run(&right, &other.unwrap(), RFC), Err(PakeError::Mismatch));
    }
    for other in [
        RunContext { context: b"another channel", ..RFC },
        RunContext { prover: b"mallory", ..RFC },
        RunContext { verifier: b"mallory", ..RFC },
    ] {
        assert_eq!(run(&right, &right, other), Err(PakeError::Mismatch));
    }
}

#[test]
fn derivation_is_argon2id_over_the_rfcs_input() {
    let code = SetupCode::from_entropy([1; 17]);
    let thing: ThingId = "plug-1".parse().unwrap();
    let mut input = Vec::new();
    input.extend([30, 0, 0, 0, 0, 0, 0, 0]);
    input.extend(code.compact().bytes());
    input.extend([29, 0, 0, 0, 0, 0, 0, 0]);
    input.extend(b"countersign setup code holder");
    input.extend([6, 0, 0, 0, 0, 0, 0, 0]);
    input.extend(b"plug-1");
    let cost = argon2::Params::new(8192, 1, 1, Some(80)).unwrap();
    let mut output = [0; 80];
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, cost)
        .hash_password_into(&input, &[1; 16], &mut output)
        .unwrap();
    let expected = ProverSecret(spake2plus::ProverSecret::from_pbkdf_output(&output).unwrap());
    let derived = derive(&code, &thing, &cheap(1)).unwrap();
    let bytes = |secret: &ProverSecret| secret.record().to_secret().expose(<[u8]>::to_vec);
    assert_eq!(bytes(&derived), bytes(&expected));
}

#[test]
fn garbage_and_outrageous_costs_are_refused() {
    let mut random = SystemRandom;
    let record = rfc_secret().record();
    for share in [&b""[..], &[4; SHARE_LEN], &[0; SHARE_LEN], &[2; 33]] {
        let refused = Verifier::respond(&record, &RFC, share, &mut random);
        assert_eq!(refused.err(), Some(PakeError::Message));
    }
    assert!(VerifierRecord::from_bytes(&[0; RECORD_LEN]).is_err());
    for (memory, passes, lanes) in
        [(1, 2, 1), (u32::MAX, 2, 1), (19 * 1024, 0, 1), (19 * 1024, 9, 1), (19 * 1024, 1, 5)]
    {
        assert_eq!(PakeParams::new([0; 16], memory, passes, lanes), Err(PakeError::Params));
    }
}

/// Another author's implementation at the other end, both ways round.
mod differential {
    use super::*;
    use pakery_core::crypto::CpaceGroup;
    use pakery_crypto::{P256Group, Spake2PlusP256};

    type Scalar = <P256Group as CpaceGroup>::Scalar;

    fn scalar(text: &str) -> Scalar {
        let wide = [vec![0; 32], hex::decode(text).unwrap()].concat();
        P256Group::scalar_from_wide_bytes(&wide).unwrap()
    }

    #[test]
    fn our_prover_with_their_verifier() {
        let mut random = SystemRandom;
        for _ in 0..8 {
            let (prover, share_p) = Prover::start(&rfc_secret(), &RFC, &mut random);
            let l = hex::decode(L).unwrap();
            let (share_v, confirm_v, theirs) =
                pakery_spake2plus::Verifier::<Spake2PlusP256>::start(
                    &share_p,
                    &scalar(W0),
                    &l,
                    RFC.context,
                    RFC.prover,
                    RFC.verifier,
                    &mut Source(&mut SystemRandom),
                )
                .unwrap();
            let (confirm_p, ours) = prover.finish(&share_v, &confirm_v).unwrap();
            let theirs = theirs.finish(&confirm_p).unwrap();
            assert!(ours.expose(|ours| ours == theirs.session_key.as_bytes()));
        }
    }

    #[test]
    fn their_prover_with_our_verifier() {
        for _ in 0..8 {
            let (share_p, theirs) = pakery_spake2plus::Prover::<Spake2PlusP256>::start(
                &scalar(W0),
                &scalar(W1),
                RFC.context,
                RFC.prover,
                RFC.verifier,
                &mut Source(&mut SystemRandom),
            )
            .unwrap();
            let (ours, answer) =
                Verifier::respond(&rfc_secret().record(), &RFC, &share_p, &mut SystemRandom)
                    .unwrap();
            let theirs = theirs.finish(&answer.share_v, &answer.confirm_v).unwrap();
            let ours = ours.finish(&theirs.confirm_p).unwrap();
            assert!(ours.expose(|ours| ours == theirs.session_key.as_bytes()));
        }
    }
}
