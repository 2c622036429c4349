/* launch/static_sodium.c - a static client without what libsodium prepares and nobody here calls.
 *
 * sodium_init() picks an implementation of every primitive, and so links several of each. With these two in their place
 * Argon2 and Salsa20 stay away, 33 kB. Who came to call them would link libsodium's own as well, and the linker would
 * refuse.
 *   source   libsodium 1.0.18, sodium/core.c
 */
int _crypto_pwhash_argon2_pick_best_implementation(void);
int _crypto_stream_salsa20_pick_best_implementation(void);

int _crypto_pwhash_argon2_pick_best_implementation(void) { return 0; }
int _crypto_stream_salsa20_pick_best_implementation(void) { return 0; }
