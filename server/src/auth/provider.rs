//! The algorithms that tokens are signed with, by ring, which TLS uses already: of what the token library offers itself, one
//! half needs cmake and the other brings an RSA implementation with an open advisory.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Signs::new(*algorithm, key)?)),
    verifier_factory: |algorithm, key| Ok(Box::new(Verifies::new(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has the token library use ring in this process. It says no when it does so already, which is as well.
pub(super) fn install() {
    let _ = RING.install_default();
}

enum Signs {
    EdDsa(Box<Ed25519KeyPair>),
    Hs256(ring::hmac::Key),
}

impl Signs {
    fn new(algorithm: Algorithm, key: &EncodingKey) -> Result<Signs, Error> {
        match (algorithm, key.family()) {
            (Algorithm::EdDSA, AlgorithmFamily::Ed) => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.as_bytes());
                Ok(Signs::EdDsa(Box::new(pair.map_err(|_| ErrorKind::InvalidEddsaKey)?)))
            }
            (Algorithm::HS256, AlgorithmFamily::Hmac) => {
                Ok(Signs::Hs256(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes())))
            }
            _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
        }
    }
}

impl Signer<Vec<u8>> for Signs {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(match self {
            Signs::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Signs::Hs256(key) => ring::hmac::sign(key, message).as_ref().to_vec(),
        })
    }
}

impl JwtSigner for Signs {
    fn algorithm(&self) -> Algorithm {
        match self {
            Signs::EdDsa(_) => Algorithm::EdDSA,
            Signs::Hs256(_) => Algorithm::HS256,
        }
    }
}

enum Verifies {
    EdDsa(UnparsedPublicKey<Vec<u8>>),
    Hs256(ring::hmac::Key),
}

impl Verifies {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Verifies, Error> {
        let bytes = key.try_get_as_bytes()?;
        match (algorithm, key.family()) {
            (Algorithm::EdDSA, AlgorithmFamily::Ed) => Ok(Verifies::EdDsa(UnparsedPublicKey::new(&ED25519, bytes.to_vec()))),
            (Algorithm::HS256, AlgorithmFamily::Hmac) => {
                Ok(Verifies::Hs256(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, bytes)))
            }
            _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
        }
    }
}

impl Verifier<Vec<u8>> for Verifies {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match self {
            Verifies::EdDsa(key) => key.verify(message, signature),
            Verifies::Hs256(key) => ring::hmac::verify(key, message, signature),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Verifies {
    fn algorithm(&self) -> Algorithm {
        match self {
            Verifies::EdDsa(_) => Algorithm::EdDSA,
            Verifies::Hs256(_) => Algorithm::HS256,
        }
    }
}
