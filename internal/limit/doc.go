// Package limit counts what each user and each address has and does, so that
// none of them takes what is everybody's: Slots bounds how many connections a
// key has at a time, Rate how often it may do something.
//
// A Key is a number of 64 bits made of a user's name or an address by a secret
// that is new in every process. So keys cost the same whatever they stand for,
// nobody can choose names that meet in one, and that two do by chance is not to
// be expected.
//
// Everything is safe for concurrent use, and what is known is counted without
// an allocation. Nothing here waits, starts a goroutine or needs to be closed.
package limit
