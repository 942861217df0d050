;; The two passes of the resampler (resample.ts) over bytes of RGB pixels, in fixed point: a sum of bytes times weights with 22 fractional bits
;; that starts at one half, shifted back and clamped to a byte. Compiled into resample_wasm.ts by scripts/build-wasm.js.
;;
;; `first` holds for each output pixel of a line the first input pixel that it reads, `weights` rows of `taps` weights, all int32.
;; Both passes may read and write up to 15 bytes beyond what they are given.
(module
  (memory (export "memory") 1)

  ;; The horizontal pass multiplies 16 bits by 16 and adds pairs of products, which is one instruction. So `taps` is a multiple of 4 there, and two weights
  ;; are two int32: their upper parts (the weight shifted right by 11) in 16 bits each, then their lower parts (its 11 last bits).
  ;;
  ;; Every row of `source` (rows `stride` bytes apart) to `width` pixels at `out`, rows width * 3 bytes apart; each line from its end with `mirror`.
  (func (export "horizontal")
    (param $source i32) (param $stride i32) (param $height i32)
    (param $first i32) (param $weights i32) (param $taps i32)
    (param $out i32) (param $width i32) (param $mirror i32)
    (local $x i32) (local $w i32) (local $end i32) (local $p i32) (local $at i32) (local $step i32)
    (local $sum v128) (local $half v128) (local $upper v128) (local $four v128) (local $pair v128)
    (local.set $half (i32x4.splat (i32.const 0x200000)))
    (local.set $step (select (i32.const -3) (i32.const 3) (local.get $mirror)))
    (local.set $taps (i32.shl (local.get $taps) (i32.const 2)))
    (block $done
      (loop $rows
        (br_if $done (i32.eqz (local.get $height)))
        (local.set $at (local.get $out))
        (if (local.get $mirror)
          (then (local.set $at (i32.add (local.get $out) (i32.mul (i32.sub (local.get $width) (i32.const 1)) (i32.const 3))))))
        (local.set $x (i32.const 0))
        (local.set $w (local.get $weights))
        (loop $pixels
          (local.set $sum (local.get $half))
          (local.set $upper (v128.const i32x4 0 0 0 0))
          (local.set $p
            (i32.add (local.get $source)
              (i32.mul (i32.load (i32.add (local.get $first) (i32.shl (local.get $x) (i32.const 2)))) (i32.const 3))))
          (local.set $end (i32.add (local.get $w) (local.get $taps)))
          (loop $taken
            (local.set $four (v128.load (local.get $p))) ;; pixels, each pair red red green green blue blue
            (local.set $pair (i8x16.swizzle (local.get $four) (v128.const i8x16 0 -1 3 -1 1 -1 4 -1 2 -1 5 -1 -1 -1 -1 -1)))
            (local.set $upper (i32x4.add (local.get $upper) (i32x4.dot_i16x8_s (local.get $pair) (v128.load32_splat (local.get $w)))))
            (local.set $sum (i32x4.add (local.get $sum) (i32x4.dot_i16x8_s (local.get $pair) (v128.load32_splat offset=4 (local.get $w)))))
            (local.set $pair (i8x16.swizzle (local.get $four) (v128.const i8x16 6 -1 9 -1 7 -1 10 -1 8 -1 11 -1 -1 -1 -1 -1)))
            (local.set $upper (i32x4.add (local.get $upper) (i32x4.dot_i16x8_s (local.get $pair) (v128.load32_splat offset=8 (local.get $w)))))
            (local.set $sum (i32x4.add (local.get $sum) (i32x4.dot_i16x8_s (local.get $pair) (v128.load32_splat offset=12 (local.get $w)))))
            (local.set $p (i32.add (local.get $p) (i32.const 12)))
            (br_if $taken (i32.lt_u (local.tee $w (i32.add (local.get $w) (i32.const 16))) (local.get $end))))
          (local.set $sum (i32x4.add (local.get $sum) (i32x4.shl (local.get $upper) (i32.const 11))))
          (local.set $sum (i32x4.shr_s (local.get $sum) (i32.const 22)))
          (local.set $sum (i16x8.narrow_i32x4_s (local.get $sum) (local.get $sum)))
          (local.set $sum (i8x16.narrow_i16x8_u (local.get $sum) (local.get $sum)))
          (v128.store16_lane 0 (local.get $at) (local.get $sum))
          (v128.store8_lane offset=2 2 (local.get $at) (local.get $sum))
          (local.set $at (i32.add (local.get $at) (local.get $step)))
          (br_if $pixels (i32.lt_u (local.tee $x (i32.add (local.get $x) (i32.const 1))) (local.get $width))))
        (local.set $source (i32.add (local.get $source) (local.get $stride)))
        (local.set $out (i32.add (local.get $out) (i32.mul (local.get $width) (i32.const 3))))
        (local.set $height (i32.sub (local.get $height) (i32.const 1)))
        (br $rows))))

  ;; Every column of `bytes` bytes a row to `height` rows at `out`, `bytes` apart.
  (func (export "vertical")
    (param $source i32) (param $stride i32) (param $bytes i32)
    (param $first i32) (param $weights i32) (param $taps i32)
    (param $out i32) (param $height i32)
    (local $at i32) (local $w i32) (local $end i32) (local $p i32) (local $row i32)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128) (local $half v128)
    (local $pixels v128) (local $low v128) (local $high v128) (local $weight v128)
    (local.set $half (i32x4.splat (i32.const 0x200000)))
    (local.set $taps (i32.shl (local.get $taps) (i32.const 2)))
    (block $done
      (loop $rows
        (br_if $done (i32.eqz (local.get $height)))
        (local.set $row (i32.add (local.get $source) (i32.mul (i32.load (local.get $first)) (local.get $stride))))
        (local.set $end (i32.add (local.get $weights) (local.get $taps)))
        (local.set $at (i32.const 0))
        (loop $blocks
          (local.set $a (local.get $half))
          (local.set $b (local.get $half))
          (local.set $c (local.get $half))
          (local.set $d (local.get $half))
          (local.set $w (local.get $weights))
          (local.set $p (i32.add (local.get $row) (local.get $at)))
          (loop $taken
            (local.set $pixels (v128.load (local.get $p)))
            (local.set $low (i16x8.extend_low_i8x16_u (local.get $pixels)))
            (local.set $high (i16x8.extend_high_i8x16_u (local.get $pixels)))
            (local.set $weight (v128.load32_splat (local.get $w)))
            (local.set $a (i32x4.add (local.get $a) (i32x4.mul (i32x4.extend_low_i16x8_u (local.get $low)) (local.get $weight))))
            (local.set $b (i32x4.add (local.get $b) (i32x4.mul (i32x4.extend_high_i16x8_u (local.get $low)) (local.get $weight))))
            (local.set $c (i32x4.add (local.get $c) (i32x4.mul (i32x4.extend_low_i16x8_u (local.get $high)) (local.get $weight))))
            (local.set $d (i32x4.add (local.get $d) (i32x4.mul (i32x4.extend_high_i16x8_u (local.get $high)) (local.get $weight))))
            (local.set $p (i32.add (local.get $p) (local.get $stride)))
            (br_if $taken (i32.lt_u (local.tee $w (i32.add (local.get $w) (i32.const 4))) (local.get $end))))
          (v128.store (i32.add (local.get $out) (local.get $at))
            (i8x16.narrow_i16x8_u
              (i16x8.narrow_i32x4_s (i32x4.shr_s (local.get $a) (i32.const 22)) (i32x4.shr_s (local.get $b) (i32.const 22)))
              (i16x8.narrow_i32x4_s (i32x4.shr_s (local.get $c) (i32.const 22)) (i32x4.shr_s (local.get $d) (i32.const 22)))))
          (br_if $blocks (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $bytes))))
        (local.set $out (i32.add (local.get $out) (local.get $bytes)))
        (local.set $first (i32.add (local.get $first) (i32.const 4)))
        (local.set $weights (local.get $end))
        (local.set $height (i32.sub (local.get $height) (i32.const 1)))
        (br $rows)))))
