#!/bin/bash
# A long way through bash: functions, arrays, pipes, traps, here-documents, redirections, background jobs, signals.
set -u
export LC_ALL=C
section() { echo "== $*"; }

section arithmetic and strings
echo $((2 ** 40)) $((0x1f + 010)) $(((7 * 6) % 5))
s="the quick brown fox"
echo "${s#* }" "${s%% *}" "${s/quick/slow}" "${s^^}" "${#s}" "${s:4:5}"
printf '%05d|%-8s|%x|%s\n' 42 left 255 "$(printf '%s' quoted)"
[[ $s =~ ([a-z]+)\ ([a-z]+)$ ]] && echo "${BASH_REMATCH[1]}-${BASH_REMATCH[2]}"

section arrays
a=(one two three)
a+=(four)
echo "${#a[@]} ${a[-1]} ${a[@]:1:2}"
unset 'a[1]'
echo "${!a[@]}"
declare -A m=([x]=1 [y]=2 [z]=3)
for k in "${!m[@]}"; do echo "$k=${m[$k]}"; done | sort
mapfile -t lines < <(printf '%s\n' l1 l2 l3)
echo "${lines[*]}"

section functions and scope
f() {
  local v=inner
  g
  echo "f: $v $1 $#"
  return 3
}
g() { v="changed by g"; }
v=outer
f arg1 arg2
echo "status $? v $v"
fact() { (($1 < 2)) && echo 1 || echo $(($1 * $(fact $(($1 - 1))))); }
fact 10

section control
for i in {1..10}; do
  ((i % 2)) && continue
  ((i > 8)) && break
  echo -n "$i "
done
echo
n=0
while read -r x y; do
  n=$((n + x))
  echo "$y"
done <<'END'
1 first
2 second
3 third
END
echo "n $n"
until ((n == 0)); do ((n--)); done
case abc.tar.gz in *.zip) echo zip ;; *.tar.*) echo tar ;& nothing) echo fell ;; esac
select_like() { for w in "$@"; do [[ $w == b* ]] && echo "$w"; done; }
select_like apple banana blueberry cherry

section pipes
seq 1 1000 | grep 7 | sort -rn | head -5 | tr '\n' ' '
echo
printf '%s\n' b a c | sort | paste -sd,
yes | head -3 | wc -l
false | true
echo "last ${PIPESTATUS[*]}"
set -o pipefail
false | true
echo "pipefail $?"
set +o pipefail
echo {a,b}{1,2} | xargs -n1 echo | while read -r w; do echo -n "<$w>"; done
echo
exec 3> >(sed 's/^/sub: /')
echo "to a process" >&3
exec 3>&-
wait $!
diff <(seq 1 5) <(seq 2 6)
echo "diff $?"
coproc up { while read -r l; do echo "${l^^}"; done; }
echo "coprocess" >&"${up[1]}"
read -r answer <&"${up[0]}"
echo "$answer"
pid=$up_PID
exec {up[1]}>&-
wait "$pid"
echo "coprocess ended $?"

section here-documents
name=world
cat <<END
hello $name $(echo nested) $((1 + 1))
	tab kept
END
cat <<-'END'
	no $name here
	END
cat <<<"a here-string"
cat <<A; cat <<B
first
A
second
B

section redirections
{
  echo out
  echo err >&2
} >both 2>&1
cat both
echo more >>both
wc -l <both
exec 4<>rw
echo "hello" >&4
exec 4>&-
cat rw
(echo "to a closed" >&9) 2>/dev/null || echo "bad descriptor"
set -C
(echo x >both) 2>/dev/null || echo noclobber
set +C
cat nothing 2>/dev/null || echo "status $?"
ls /nonexistent 2>&1 | sed 's/^[^:]*: //'

section subshells and exit
(
  cd /
  pwd
  exit 4
)
echo "$? $(basename "$PWD" | sed 's/[0-9]*$//')"
x=1
(x=2)
echo "$x"
bash -c 'exit 300'
echo $?
bash -c 'kill -TERM $$'
echo $?
command -v no_such_thing || echo "not found $?"
no_such_thing 2>/dev/null
echo $?
./both 2>/dev/null
echo $?

section traps
trap 'echo usr1 handled' USR1
kill -USR1 $$
trap - USR1
(
  trap 'echo bye $?' EXIT
  exit 5
)
echo $?
(
  trap 'echo err at $LINENO >/dev/null; echo err' ERR
  false
  echo after
)
bash -c 'trap "echo got term; exit 9" TERM; kill -TERM $$; sleep 5'
echo $?
bash -c 'trap "" INT; kill -INT $$; echo survived'
(
  trap 'echo chld' CHLD
  sleep 0.05 &
  wait $!
) | sort -u

section background
sleep 0.2 &
p1=$!
(exit 7) &
p2=$!
wait $p2
echo "second $?"
wait $p1
echo "first $?"
for i in 1 2 3; do (
  sleep 0.$((4 - i))
  echo "$i" >>order
) & done
wait
tr '\n' ' ' <order
echo
sleep 30 &
kill $!
wait $! 2>/dev/null
echo "killed $?"
sleep 30 &
kill -STOP $!
sleep 0.1
kill -CONT $!
kill -9 $!
wait $! 2>/dev/null
echo "killed $?"
mkfifo pipe
(echo "through a fifo" >pipe) &
cat pipe
wait
timeout 0.2 sleep 10
echo "timeout $?"
set -m
sleep 0.1 &
fg >/dev/null
echo "fg $?"
set +m

section files
mkdir -p d/e
touch d/{a,b}.txt d/e/c.txt
find d -name '*.txt' | sort
shopt -s globstar nullglob
echo d/**/*.txt
echo nothing*
[[ -d d && -f d/a.txt && ! -e d/z && -w d ]] && echo tests
ln -s a.txt d/link
readlink d/link
[[ d/link -ef d/a.txt ]] && echo "same file"
umask 027
touch masked
stat -c %a masked
cp -r d copy && rm -rf d && ls -R copy
tar cf - copy | tar tf - | sort | tail -2
awk 'BEGIN { for (i = 0; i < 3; i++) printf "%d ", i * i; print "" }'
sed -n '2,3{s/a/A/g;p}' <<<$'abc\nbca\ncab\nzzz'
date -u -d @86400 +%F
printf 'c\na\nb\n' >unsorted
sort -o unsorted unsorted
cat unsorted | tee copy2 | cksum
cmp unsorted copy2 && echo equal
head -c 100000 /dev/zero | gzip -9 | wc -c | awk '{ print ($1 < 1000) }'
expr 3 + 4
ulimit -n 64
ulimit -n
exit 21
