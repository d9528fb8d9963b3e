// Package signin lets people in: passwords, sessions, and who may do what on pages for people. The console and the queue
// dashboard stand behind one [Auth].
//
// A session is 32 random bytes in a cookie that scripts cannot read; the ledger holds their hash, so that a copy of it
// signs nobody in, and a session ends at once when its user is changed. Passwords are argon2id hashes. Attempts are
// limited by account and by network, in each process; an unknown name costs as much time as a wrong password.
//
// It does not know what it guards, and shows one page only: the one on which people sign in is its caller's.
package signin
