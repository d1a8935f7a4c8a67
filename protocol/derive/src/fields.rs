//! A field and how it is packed: what components, inputs and messages have in common.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprRange, Ident, LitInt, Member, RangeLimits, Token, Type, ext::IdentExt};

/// A field with its attributes read.
pub(crate) struct Field {
    pub(crate) member: Member,
    pub(crate) ty: Type,
    pub(crate) synced: bool,
    coding: TokenStream,
    explicit: bool,
}

/// Which attributes a field may have.
#[derive(Clone, Copy)]
pub(crate) struct Allowed {
    pub(crate) coding: bool,
    pub(crate) sync_none: bool,
}

/// Reads the fields of a struct or a variant.
pub(crate) fn read(fields: &syn::Fields, allowed: Allowed) -> syn::Result<Vec<Field>> {
    fields.members().zip(fields).map(|(member, field)| Field::read(member, field, allowed)).collect()
}

impl Field {
    fn read(member: Member, field: &syn::Field, allowed: Allowed) -> syn::Result<Field> {
        let mut coding = None;
        let mut synced = true;
        for attribute in &field.attrs {
            if attribute.path().is_ident("q") && allowed.coding {
                if coding.is_some() {
                    return Err(syn::Error::new_spanned(attribute, "one #[q] is enough"));
                }
                coding = Some(read_coding(attribute)?);
            } else if attribute.path().is_ident("sync") && allowed.sync_none {
                read_sync_none(attribute)?;
                synced = false;
            } else if ["q", "sync"].iter().any(|name| attribute.path().is_ident(name)) {
                return Err(syn::Error::new_spanned(attribute, "this attribute has no meaning here"));
            } else if attribute.path().is_ident("interp") {
                let message = "#[interp] is for a whole column: write it above the field of the state struct";
                return Err(syn::Error::new_spanned(attribute, message));
            }
        }
        let explicit = coding.is_some();
        let raw = || quote!(::ringfort::protocol::schema::Coding::Raw);
        Ok(Field { member, ty: field.ty.clone(), synced, coding: coding.unwrap_or_else(raw), explicit })
    }

    /// The field's name in the schema.
    pub(crate) fn name(&self) -> String {
        match &self.member {
            Member::Named(ident) => ident.unraw().to_string(),
            Member::Unnamed(index) => index.index.to_string(),
        }
    }

    /// Whether the type is called `Entity`, whatever path it is named by.
    pub(crate) fn is_entity(&self) -> bool {
        matches!(&self.ty, Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == "Entity"))
    }

    /// A name for the field in a pattern.
    pub(crate) fn binding(&self) -> Ident {
        match &self.member {
            Member::Named(ident) => Ident::new(&format!("field_{}", ident.unraw()), Span::call_site()),
            Member::Unnamed(index) => Ident::new(&format!("field_{}", index.index), Span::call_site()),
        }
    }

    /// The `FieldSchema`; `offset` is an expression.
    pub(crate) fn schema(&self, offset: &TokenStream) -> TokenStream {
        let Field { ty, synced, coding, .. } = self;
        let name = self.name();
        quote! {
            ::ringfort::protocol::schema::FieldSchema {
                name: ::std::string::String::from(#name),
                offset: #offset,
                kind: <#ty as ::ringfort::protocol::Field>::KIND,
                coding: #coding,
                synced: #synced,
            }
        }
    }

    /// The `FieldSchema` of a field of `Self`.
    pub(crate) fn schema_in_self(&self) -> TokenStream {
        let member = &self.member;
        self.schema(&quote!(::core::mem::offset_of!(Self, #member) as u32))
    }

    /// Appends `value`, a place expression, to `to`.
    pub(crate) fn encode(&self, value: &TokenStream) -> TokenStream {
        let coding = &self.coding;
        let ty = &self.ty;
        quote!(<#ty as ::ringfort::protocol::Field>::encode(&#value, #coding, to);)
    }

    /// Reads a value from `from`.
    pub(crate) fn decode(&self) -> TokenStream {
        let Field { ty, coding, .. } = self;
        quote!(<#ty as ::ringfort::protocol::Field>::decode(#coding, from)?)
    }

    /// Quantises the field of `self`.
    pub(crate) fn quantise(&self) -> TokenStream {
        let Field { member, ty, coding, .. } = self;
        quote!(<#ty as ::ringfort::protocol::Field>::quantise(&mut self.#member, #coding);)
    }

    /// The field of `self` on its way to that of `to`, in an expression between braces.
    pub(crate) fn lerp(&self) -> TokenStream {
        let Field { member, ty, coding, .. } = self;
        quote!(<#ty as ::ringfort::protocol::Field>::lerp(&self.#member, &to.#member, #coding, alpha))
    }

    /// What the field is and how far that of `self` is from that of `to`.
    pub(crate) fn distance(&self) -> TokenStream {
        let Field { member, ty, coding, .. } = self;
        quote! {(
            <#ty as ::ringfort::protocol::Field>::KIND,
            <#ty as ::ringfort::protocol::Field>::distance(&self.#member, &to.#member, #coding),
        )}
    }

    /// Whether the field's bytes in `row` are a value of it.
    pub(crate) fn valid(&self) -> TokenStream {
        let Field { member, ty, .. } = self;
        quote! {
            <#ty as ::ringfort::protocol::Field>::valid(
                &row[::core::mem::offset_of!(Self, #member)..][..::core::mem::size_of::<#ty>()],
            )
        }
    }

    /// Bits on the wire, a constant expression.
    pub(crate) fn bits(&self) -> TokenStream {
        let Field { ty, coding, .. } = self;
        quote!(<#ty as ::ringfort::protocol::Field>::KIND.wire_bits(#coding))
    }

    /// An assertion that the coding suits the type.
    pub(crate) fn assert_coding(&self) -> TokenStream {
        if !self.explicit {
            return TokenStream::new();
        }
        let Field { ty, coding, .. } = self;
        let message = format!("field `{}`: its #[q] does not suit its type, or has numbers that make no sense", self.name());
        quote_spanned! {ty.span()=>
            const _: () = ::core::assert!(<#ty as ::ringfort::protocol::Field>::KIND.accepts(#coding), #message);
        }
    }

    /// An assertion that NaN can't be sent.
    pub(crate) fn assert_finite(&self) -> TokenStream {
        let Field { ty, coding, .. } = self;
        let message = format!(
            "field `{}`: a float in an input needs a #[q(range = .., step = ..)] or #[q(angle, bits = ..)], \
             so that no client can send NaN",
            self.name()
        );
        quote_spanned! {ty.span()=>
            const _: () = ::core::assert!(!<#ty as ::ringfort::protocol::Field>::KIND.may_be_nan(#coding), #message);
        }
    }
}

/// `#[q(range = a..=b, step = s)]`, `#[q(angle, bits = n)]` or `#[q(max = n)]`, as an expression of type `Coding`.
fn read_coding(attribute: &Attribute) -> syn::Result<TokenStream> {
    let (mut range, mut step, mut angle, mut bits, mut max) = (None, None, None, None, None);
    attribute.parse_nested_meta(|meta| {
        if meta.path.is_ident("range") {
            range = Some(meta.value()?.parse::<ExprRange>()?);
        } else if meta.path.is_ident("step") {
            step = Some(meta.value()?.parse::<Expr>()?);
        } else if meta.path.is_ident("angle") {
            angle = Some(meta.path.span());
        } else if meta.path.is_ident("bits") {
            bits = Some(meta.value()?.parse::<LitInt>()?);
        } else if meta.path.is_ident("max") {
            max = Some(meta.value()?.parse::<Expr>()?);
        } else {
            return Err(meta.error("expected `range`, `step`, `angle`, `bits` or `max`"));
        }
        Ok(())
    })?;
    match (range, step, angle, bits, max) {
        (Some(range), Some(step), None, None, None) => {
            let (min, max) = ends(&range)?;
            Ok(quote!(::ringfort::protocol::schema::Coding::Range { min: #min, max: #max, step: #step }))
        }
        (None, None, Some(_), Some(bits), None) => Ok(quote!(::ringfort::protocol::schema::Coding::Angle { bits: #bits })),
        (None, None, None, None, Some(max)) => Ok(quote!(::ringfort::protocol::schema::Coding::Max(#max))),
        _ => Err(syn::Error::new_spanned(
            attribute,
            "expected #[q(range = a..=b, step = s)], #[q(angle, bits = n)] or #[q(max = n)]",
        )),
    }
}

fn ends(range: &ExprRange) -> syn::Result<(&Expr, &Expr)> {
    match (&range.start, &range.end, &range.limits) {
        (Some(start), Some(end), RangeLimits::Closed(_)) => Ok((start, end)),
        _ => Err(syn::Error::new_spanned(range, "expected a range with both ends, as in -1.0..=1.0")),
    }
}

fn read_sync_none(attribute: &Attribute) -> syn::Result<()> {
    let mut none = false;
    attribute.parse_nested_meta(|meta| {
        none = meta.path.is_ident("none");
        if none && !meta.input.peek(Token![=]) { Ok(()) } else { Err(meta.error("a field can only be #[sync(none)]")) }
    })?;
    if none { Ok(()) } else { Err(syn::Error::new_spanned(attribute, "expected #[sync(none)]")) }
}

/// Fields by their bindings: a pattern, or an expression, after the name of a variant.
pub(crate) fn braces(fields: &[Field], value: impl Fn(&Field) -> TokenStream) -> TokenStream {
    let fields = fields.iter().map(|field| {
        let member = field.member.to_token_stream();
        let value = value(field);
        quote!(#member: #value)
    });
    quote!({ #(#fields),* })
}
