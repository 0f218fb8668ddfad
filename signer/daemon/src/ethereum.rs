//! Transactions as bytes: encoded, hashed, and a signature made fit for them.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256, Signature, TxKind, U256};
use serde::{Deserialize, Serialize};
use signer_protocol::intent::{Fees, SignedTransaction, Transfer};
use signer_protocol::wire::Blob;

/// An Ethereum signature that was checked: low S, and the parity that recovers the key's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TxSignature {
    pub r: B256,
    pub s: B256,
    pub odd: bool,
}

/// A transaction that lacks its signature alone.
pub enum Unsigned {
    Legacy(TxLegacy),
    /// Legacy fees, with an access list.
    Eip2930(TxEip2930),
    Eip1559(TxEip1559),
}

impl Unsigned {
    pub fn new(transfer: &Transfer, nonce: u64, fees: &Fees) -> Self {
        let Transfer { chain_id, to, value, ref data, gas_limit, .. } = *transfer;
        let (to, value, input) = (TxKind::from(to), value.0, data.clone());
        let access_list = access_list(&transfer.access_list);
        match *fees {
            Fees::Legacy { gas_price } if !access_list.is_empty() => Self::Eip2930(TxEip2930 {
                chain_id,
                nonce,
                gas_price,
                gas_limit,
                to,
                value,
                access_list,
                input,
            }),
            Fees::Legacy { gas_price } => Self::Legacy(TxLegacy {
                chain_id: Some(chain_id),
                nonce,
                gas_price,
                gas_limit,
                to,
                value,
                input,
            }),
            Fees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas } => Self::Eip1559(TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to,
                value,
                access_list,
                input,
            }),
        }
    }

    /// What is signed.
    pub fn hash(&self) -> B256 {
        match self {
            Self::Legacy(tx) => tx.signature_hash(),
            Self::Eip2930(tx) => tx.signature_hash(),
            Self::Eip1559(tx) => tx.signature_hash(),
        }
    }

    /// As it goes to a node.
    pub fn signed(self, signature: &TxSignature, from: Address) -> SignedTransaction {
        let signature = Signature::from_scalars_and_parity(signature.r, signature.s, signature.odd);
        let envelope: TxEnvelope = match self {
            Self::Legacy(tx) => tx.into_signed(signature).into(),
            Self::Eip2930(tx) => tx.into_signed(signature).into(),
            Self::Eip1559(tx) => tx.into_signed(signature).into(),
        };
        SignedTransaction { raw: Blob(envelope.encoded_2718()), hash: *envelope.tx_hash(), from }
    }
}

fn access_list(list: &domain::AccessList) -> AccessList {
    let item = |account: &domain::Accessed| AccessListItem {
        address: account.address,
        storage_keys: account.storage_keys.clone(),
    };
    AccessList(list.accounts().iter().map(item).collect())
}

/// Makes S low (EIP-2: a high one is refused by every node) and finds the parity by trial: the one that recovers
/// the address. `None`: this signature is not of that address's key.
pub fn fit(raw: &[u8; 64], digest: B256, address: Address) -> Option<TxSignature> {
    let (r, s) = raw.split_first_chunk::<32>()?;
    let low = Signature::new(U256::from_be_bytes(*r), U256::from_be_slice(s), false).normalized_s();
    [false, true].into_iter().find_map(|odd| {
        let signature = low.with_parity(odd);
        (signature.recover_address_from_prehash(&digest).ok()? == address).then(|| TxSignature {
            r: signature.r().into(),
            s: signature.s().into(),
            odd,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::Transaction as _;
    use alloy_consensus::transaction::SignerRecoverable as _;
    use alloy_eips::eip2718::Decodable2718 as _;
    use alloy_primitives::{Bytes, hex, keccak256};
    use domain::Wei;
    use k256::ecdsa::SigningKey;
    use k256::ecdsa::signature::hazmat::PrehashSigner as _;
    use proptest::prelude::*;

    fn key(seed: u64) -> (SigningKey, Address) {
        let key = SigningKey::from_slice(keccak256(seed.to_be_bytes()).as_slice()).unwrap();
        let address = Address::from_public_key(key.verifying_key());
        (key, address)
    }

    /// As a module that does not care gives it: half of the time S is high.
    fn sign(key: &SigningKey, digest: B256, high: bool) -> [u8; 64] {
        let signature: k256::ecdsa::Signature = key.sign_prehash(digest.as_slice()).unwrap();
        let signature = signature.normalize_s().unwrap_or(signature);
        let (r, s) = signature.split_scalars();
        let s = if high { -*s } else { *s };
        k256::ecdsa::Signature::from_scalars(r.to_bytes(), s.to_bytes()).unwrap().to_bytes().into()
    }

    /// The example of EIP-155, byte for byte.
    #[test]
    fn eip_155_example() {
        let key = SigningKey::from_slice(&[0x46; 32]).unwrap();
        let from = Address::from_public_key(key.verifying_key());
        let transfer = Transfer {
            chain_id: 1,
            to: Some(Address::repeat_byte(0x35)),
            value: Wei::parse_ether("value", "1").unwrap(),
            data: Bytes::new(),
            gas_limit: 21_000,
            fees: Fees::Legacy { gas_price: 20_000_000_000 },
            replaces: None,
            access_list: Default::default(),
        };
        let unsigned = Unsigned::new(&transfer, 9, &transfer.fees);
        let digest = unsigned.hash();
        assert_eq!(digest.0, hex!("daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"));
        let signature = fit(&sign(&key, digest, true), digest, from).unwrap();
        assert_eq!(
            unsigned.signed(&signature, from).raw.0,
            hex!(
                "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340b"
                "d939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc6421"
                "4b297fb1966a3b6d83"
            )
        );
    }

    /// go-ethereum's own example of a type 1 transaction (core/types/transaction_test.go), byte for byte.
    #[test]
    fn eip_2930_example() {
        let unsigned = || {
            Unsigned::Eip2930(TxEip2930 {
                chain_id: 1,
                nonce: 3,
                gas_price: 1,
                gas_limit: 25_000,
                to: TxKind::Call(Address::new(hex!("b94f5374fce5edbc8e2a8697c15331677e6ebf0b"))),
                value: U256::from(10),
                access_list: AccessList::default(),
                input: Bytes::from_static(&hex!("5544")),
            })
        };
        let hash = hex!("49b486f0ec0a60dfbbca2d30cb07c9e8ffb2a2ff41f29a1ab6737475f6ff69f3");
        assert_eq!(unsigned().hash().0, hash);
        let signature = TxSignature {
            r: B256::new(hex!("c9519f4f2b30335884581971573fadf60c6204f59a911df35ee8a540456b2660")),
            s: B256::new(hex!("32f1e8e2c5dd761f9e4f88f41c8310aeaba26a8bfcdacfedfa12ec3862d37521")),
            odd: true,
        };
        assert_eq!(
            unsigned().signed(&signature, Address::ZERO).raw.0,
            hex!(
                "01f8630103018261a894b94f5374fce5edbc8e2a8697c15331677e6ebf0b0a825544c001a0c9519f4f2b3033588458197157"
                "3fadf60c6204f59a911df35ee8a540456b2660a032f1e8e2c5dd761f9e4f88f41c8310aeaba26a8bfcdacfedfa12ec3862d3"
                "7521"
            )
        );
    }

    /// What is signed, put together by hand: 0x01, and the list of EIP-2930's fields in RLP.
    #[test]
    fn eip_2930_with_a_list_is_hashed_as_specified() {
        let account = domain::Accessed {
            address: Address::repeat_byte(0x22),
            storage_keys: vec![B256::repeat_byte(0x33), B256::repeat_byte(0x44)],
        };
        let transfer = Transfer {
            chain_id: 5,
            to: Some(Address::repeat_byte(0x11)),
            value: Wei(U256::from(7)),
            data: Bytes::new(),
            gas_limit: 30_000,
            fees: Fees::Legacy { gas_price: 9 },
            replaces: None,
            access_list: domain::AccessList::new(vec![account]).unwrap(),
        };
        // Strings of 20 and 32 bytes begin with 0x94 and 0xa0; lists of more than 55 bytes with 0xf8 and their length.
        let list =
            [&hex!("f85bf85994")[..], &[0x22; 20], &hex!("f842a0"), &[0x33; 32], &hex!("a0"), &[0x44; 32]]
                .concat();
        let fields = [&hex!("05040982753094")[..], &[0x11; 20], &hex!("0780"), &list].concat();
        let whole = [&[0x01, 0xf8, u8::try_from(fields.len()).unwrap()][..], &fields].concat();
        assert_eq!(Unsigned::new(&transfer, 4, &transfer.fees).hash(), keccak256(whole));
    }

    #[test]
    fn a_signature_of_another_key_is_refused() {
        let ((ours, _), (_, theirs)) = (key(1), key(2));
        let digest = B256::repeat_byte(7);
        assert_eq!(fit(&sign(&ours, digest, false), digest, theirs), None);
        assert_eq!(fit(&[0; 64], digest, theirs), None);
        assert_eq!(fit(&[0xff; 64], digest, theirs), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn signed_transactions_decode_to_what_was_asked(
            seed: u64, chain_id in 1u64..u64::MAX / 2 - 36, to: Option<[u8; 20]>, value: u128, data in proptest::collection::vec(any::<u8>(), 0..200),
            gas_limit: u64, nonce in 0u64..u64::MAX, max: u128, tip: u128, legacy: bool, high: bool,
            accounts in proptest::collection::vec((any::<[u8; 20]>(), proptest::collection::vec(any::<[u8; 32]>(), 0..4)), 0..4),
        ) {
            let accessed = |(address, keys): &([u8; 20], Vec<[u8; 32]>)| domain::Accessed {
                address: (*address).into(),
                storage_keys: keys.iter().map(B256::from).collect(),
            };
            let access_list = domain::AccessList::new(accounts.iter().map(accessed).collect()).unwrap();
            let fees = if legacy {
                Fees::Legacy { gas_price: max }
            } else {
                Fees::Eip1559 { max_fee_per_gas: max, max_priority_fee_per_gas: tip.min(max) }
            };
            let transfer = Transfer {
                chain_id, to: to.map(Address::from), value: Wei(U256::from(value)), data: data.into(), gas_limit, fees, replaces: None, access_list,
            };
            let (key, from) = key(seed);
            let unsigned = Unsigned::new(&transfer, nonce, &fees);
            let digest = unsigned.hash();
            let signature = fit(&sign(&key, digest, high), digest, from).unwrap();
            let signed = unsigned.signed(&signature, from);

            let decoded = TxEnvelope::decode_2718_exact(&signed.raw.0).unwrap();
            prop_assert_eq!(decoded.recover_signer().unwrap(), from);
            prop_assert!(decoded.signature().normalize_s().is_none(), "S is high");
            prop_assert_eq!(keccak256(&signed.raw.0), signed.hash);
            let kind = match (legacy, accounts.is_empty()) { (true, true) => 0, (true, false) => 1, (false, _) => 2 };
            prop_assert_eq!(decoded.tx_type() as u8, kind);
            let list: Vec<_> = decoded.access_list().into_iter().flat_map(|list| &list.0).collect();
            prop_assert_eq!(list.len(), accounts.len());
            for (item, (address, keys)) in list.into_iter().zip(&accounts) {
                prop_assert_eq!(item.address.0.0, *address);
                prop_assert_eq!(item.storage_keys.iter().map(|key| key.0).collect::<Vec<_>>(), keys.clone());
            }
            prop_assert_eq!(decoded.chain_id(), Some(chain_id));
            prop_assert_eq!(decoded.to(), transfer.to);
            prop_assert_eq!(decoded.value(), transfer.value.0);
            prop_assert_eq!(decoded.input(), &transfer.data);
            prop_assert_eq!(decoded.nonce(), nonce);
            prop_assert_eq!(decoded.gas_limit(), gas_limit);
            prop_assert_eq!(decoded.max_fee_per_gas(), max);
            prop_assert_eq!(decoded.max_priority_fee_per_gas(), (!legacy).then_some(tip.min(max)));
        }
    }
}
