//! `#[derive(Message)]`, and what timers share with it: an 8-bit tag and the variant's fields.

use crate::fields::{self, Allowed, Field, braces};
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Attribute, Data, DeriveInput, Ident, ext::IdentExt};

const MAX_VARIANTS: usize = u8::MAX as usize;
/// As in the protocol's `limits`, where a schema is checked against it.
const MAX_PREDICTED: usize = 4;

/// A variant with its attributes read.
pub(crate) struct Variant {
    ident: Ident,
    tag: u8,
    reliable: bool,
    predicted: bool,
    fields: Vec<Field>,
}

pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let variants = read(input, true)?;
    let ident = &input.ident;
    let asserts = variants.iter().flat_map(|variant| variant.fields.iter().map(Field::assert_coding));
    let sizes = variants.iter().map(|variant| variant.assert_size(&quote!(::ringfort::protocol::limits::MAX_MESSAGE_BYTES)));
    let schemas = variants.iter().map(Variant::schema);
    let numbers = variants.iter().map(|variant| variant.number(&usize::from(variant.tag)));
    let reliable = variants.iter().map(|variant| variant.number(&variant.reliable));
    let predicted = predicted(&variants)?;
    let (encode, decode) = (encode(&variants), decode(&variants));
    Ok(quote! {
        #(#asserts)*
        #(#sizes)*

        #[automatically_derived]
        impl ::ringfort::protocol::Message for #ident {
            fn variants() -> ::std::vec::Vec<::ringfort::protocol::schema::VariantSchema> {
                ::std::vec![#(#schemas),*]
            }

            fn variant(&self) -> usize {
                match self { #(#numbers)* }
            }

            fn reliable(&self) -> bool {
                match self { #(#reliable)* }
            }

            #predicted

            #encode
            #decode
        }
    })
}

/// Reads the variants of a message or a timer; only the former have attributes.
pub(crate) fn read(input: &DeriveInput, attributes: bool) -> syn::Result<Vec<Variant>> {
    let Data::Enum(data) = &input.data else {
        return Err(syn::Error::new_spanned(&input.ident, "a command, an event or a timer is an enum"));
    };
    if data.variants.is_empty() || data.variants.len() > MAX_VARIANTS {
        return Err(syn::Error::new_spanned(&input.ident, "the enum needs 1 to 255 variants; for none at all use ()"));
    }
    let allowed = Allowed { coding: attributes, sync_none: false };
    let variant = |(tag, variant): (usize, &syn::Variant)| {
        Ok(Variant {
            ident: variant.ident.clone(),
            tag: tag as u8,
            reliable: attributes && flag(&variant.attrs, "reliable")?,
            predicted: attributes && flag(&variant.attrs, "predicted")?,
            fields: fields::read(&variant.fields, allowed)?,
        })
    };
    data.variants.iter().enumerate().map(variant).collect()
}

fn flag(attributes: &[Attribute], name: &str) -> syn::Result<bool> {
    match attributes.iter().find(|attribute| attribute.path().is_ident(name)) {
        Some(attribute) => attribute.meta.require_path_only().map(|_| true),
        None => Ok(false),
    }
}

/// The method `predicted`; a game without such variants has no use for one of its own.
fn predicted(variants: &[Variant]) -> syn::Result<TokenStream> {
    let mut arms = Vec::new();
    for variant in variants.iter().filter(|variant| variant.predicted) {
        let ident = &variant.ident;
        let Some(subject) = variant.fields.iter().find(|field| field.is_entity()) else {
            let message = "a #[predicted] event needs an Entity field: the owner of the first one is who predicts it";
            return Err(syn::Error::new_spanned(ident, message));
        };
        if arms.len() == MAX_PREDICTED {
            let message = format!("at most {MAX_PREDICTED} events are #[predicted]: each costs four bytes of every snapshot");
            return Err(syn::Error::new_spanned(ident, message));
        }
        let (number, member) = (arms.len(), &subject.member);
        arms.push(quote!(Self::#ident { #member: subject, .. } => ::core::option::Option::Some((#number, *subject)),));
    }
    if arms.is_empty() {
        return Ok(TokenStream::new());
    }
    let rest = (arms.len() < variants.len()).then(|| quote!(_ => ::core::option::Option::None,));
    Ok(quote! {
        fn predicted(&self) -> ::core::option::Option<(usize, ::ringfort::protocol::Entity)> {
            match self { #(#arms)* #rest }
        }
    })
}

impl Variant {
    pub(crate) fn schema(&self) -> TokenStream {
        let Variant { reliable, predicted, .. } = self;
        let name = self.ident.unraw().to_string();
        let fields = self.fields.iter().map(|field| field.schema(&quote!(0)));
        quote! {
            ::ringfort::protocol::schema::VariantSchema {
                name: ::std::string::String::from(#name),
                reliable: #reliable,
                predicted: #predicted,
                fields: ::std::vec![#(#fields),*],
            }
        }
    }

    /// An arm that gives `value` whatever the fields are.
    fn number(&self, value: &impl quote::ToTokens) -> TokenStream {
        let ident = &self.ident;
        quote!(Self::#ident { .. } => #value,)
    }

    /// An assertion that the variant has room; `bytes` is a constant expression.
    pub(crate) fn assert_size(&self, bytes: &TokenStream) -> TokenStream {
        let bits = self.bits();
        let message = format!("`{}` takes more bytes on the wire than it may: give its fields #[q], or send less", self.ident);
        quote_spanned! {self.ident.span()=>
            const _: () = ::core::assert!(#bits <= 8 * #bytes as u32, #message);
        }
    }

    /// Bits of tag and fields, a constant expression.
    pub(crate) fn bits(&self) -> TokenStream {
        let bits = self.fields.iter().map(Field::bits);
        quote!(::ringfort::protocol::schema::TAG_BITS #(+ #bits)*)
    }
}

/// The method `encode`.
pub(crate) fn encode(variants: &[Variant]) -> TokenStream {
    let arms = variants.iter().map(|variant| {
        let Variant { ident, tag, fields, .. } = variant;
        let pattern = braces(fields, |field| {
            let binding = field.binding();
            quote!(#binding)
        });
        let encodes = fields.iter().map(|field| {
            let binding = field.binding();
            field.encode(&quote!(*#binding))
        });
        quote! {
            Self::#ident #pattern => {
                to.write(#tag as u64, ::ringfort::protocol::schema::TAG_BITS);
                #(#encodes)*
            }
        }
    });
    quote! {
        fn encode(&self, to: &mut ::ringfort::protocol::bits::BitWriter) {
            match self { #(#arms)* }
        }
    }
}

/// The function `decode`.
pub(crate) fn decode(variants: &[Variant]) -> TokenStream {
    let arms = variants.iter().map(|variant| {
        let Variant { ident, tag, fields, .. } = variant;
        let tag = u64::from(*tag);
        let value = braces(fields, Field::decode);
        quote!(#tag => ::core::result::Result::Ok(Self::#ident #value),)
    });
    quote! {
        fn decode(
            from: &mut ::ringfort::protocol::bits::BitReader<'_>,
        ) -> ::core::result::Result<Self, ::ringfort::protocol::DecodeError> {
            match from.read(::ringfort::protocol::schema::TAG_BITS)? {
                #(#arms)*
                _ => ::core::result::Result::Err(::ringfort::protocol::DecodeError::UnknownVariant),
            }
        }
    }
}
