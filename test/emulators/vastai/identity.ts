/** Who asks. An instance's own key opens that instance alone. */
export type Identity =
  | { readonly kind: 'nobody' }
  | { readonly kind: 'stranger' }
  | { readonly kind: 'account'; readonly scopes: readonly string[] | 'all' }
  | { readonly kind: 'instance'; readonly contractId: number };
