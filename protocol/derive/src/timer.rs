//! `#[derive(Timer)]`.

use crate::message::{self, Variant};
use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let variants = message::read(input, false)?;
    let ident = &input.ident;
    let (encode, decode) = (message::encode(&variants), message::decode(&variants));
    let bits = variants.iter().map(Variant::bits);
    Ok(quote! {
        #[automatically_derived]
        impl ::ringfort::protocol::TimerPayload for #ident {
            #encode
            #decode

            fn max_bytes() -> usize {
                let bits = [#(#bits),*];
                bits.into_iter().max().unwrap_or(0).div_ceil(8) as usize
            }
        }
    })
}
