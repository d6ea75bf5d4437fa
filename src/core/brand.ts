declare const brand: unique symbol;

/** A string that cannot be mistaken for another kind of string: ours and a provider's ids never swap. */
export type Brand<Name extends string> = string & { readonly [brand]: Name };
