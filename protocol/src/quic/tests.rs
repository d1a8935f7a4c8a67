//! Connection ids say which front-end they belong to.

use super::*;

#[test]
fn connection_ids_carry_the_slot_and_little_else() {
    let mut ids = SlotIds { slot: 5, random: SystemRandom::new() };
    let made: Vec<ConnectionId> = (0..64).map(|_| ids.generate_cid()).collect();
    assert!(made.iter().all(|id| id.len() == CONNECTION_ID_BYTES && id[0] % 16 == 5));
    assert!(made.iter().any(|id| id[0] != made[0][0]), "the rest of the first byte is random");
    assert!(made.iter().all(|id| ids.validate(id).is_ok()));
    let other = SlotIds { slot: 6, random: SystemRandom::new() };
    assert!(made.iter().all(|id| other.validate(id).is_err()));
    assert!(ids.validate(&ConnectionId::new(&[5; 8])).is_err());
}

#[test]
fn only_sound_certificates_are_roots() {
    assert!(client_config(Trust::Roots(vec![CertificateDer::from(vec![1, 2, 3])])).is_err());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    assert!(client_config(Trust::Roots(vec![made.cert.der().clone()])).is_ok());
}
