#ifndef NNET_POINTS_H_
#define NNET_POINTS_H_

// Layers of point models for hls4ml: values are moved, compared, added and subtracted, never rounded by themselves. All loops
// have bounds that are known at compilation and are unrolled; a gather by an order is a multiplexer per value.
//
// Symbols: N points, O orders, H heads, E channels; a block is a run of sorted points. Arrays are flat, the last axis
// the fastest.

#include "nnet_common.h"

namespace nnet {

// Rows (N, H, E) in the order of each of O permutations (O, N): (O, H, N, E).
template <class data_T, class order_T, class res_T, typename CONFIG_T>
void to_blocks(data_T data[CONFIG_T::points * CONFIG_T::heads * CONFIG_T::channels],
               order_T order[CONFIG_T::orders * CONFIG_T::points],
               res_T res[CONFIG_T::orders * CONFIG_T::heads * CONFIG_T::points * CONFIG_T::channels]) {
    #pragma HLS PIPELINE
OrderLoop:
    for (unsigned o = 0; o < CONFIG_T::orders; o++) {
        #pragma HLS UNROLL
    PlaceLoop:
        for (unsigned place = 0; place < CONFIG_T::points; place++) {
            #pragma HLS UNROLL
            const unsigned slot = order[o * CONFIG_T::points + place].to_uint();
            for (unsigned h = 0; h < CONFIG_T::heads; h++) {
                #pragma HLS UNROLL
                for (unsigned e = 0; e < CONFIG_T::channels; e++) {
                    #pragma HLS UNROLL
                    res[((o * CONFIG_T::heads + h) * CONFIG_T::points + place) * CONFIG_T::channels + e] =
                        data[(slot * CONFIG_T::heads + h) * CONFIG_T::channels + e];
                }
            }
        }
    }
}

// The inverse: sorted rows (O, H, N, E) back at the slots that the orders (O, N) say: (O, H, N, E).
template <class data_T, class order_T, class res_T, typename CONFIG_T>
void from_blocks(data_T data[CONFIG_T::orders * CONFIG_T::heads * CONFIG_T::points * CONFIG_T::channels],
                 order_T order[CONFIG_T::orders * CONFIG_T::points],
                 res_T res[CONFIG_T::orders * CONFIG_T::heads * CONFIG_T::points * CONFIG_T::channels]) {
    #pragma HLS PIPELINE
OrderLoop:
    for (unsigned o = 0; o < CONFIG_T::orders; o++) {
        #pragma HLS UNROLL
    PlaceLoop:
        for (unsigned place = 0; place < CONFIG_T::points; place++) {
            #pragma HLS UNROLL
            const unsigned slot = order[o * CONFIG_T::points + place].to_uint();
            for (unsigned h = 0; h < CONFIG_T::heads; h++) {
                #pragma HLS UNROLL
                for (unsigned e = 0; e < CONFIG_T::channels; e++) {
                    #pragma HLS UNROLL
                    res[((o * CONFIG_T::heads + h) * CONFIG_T::points + slot) * CONFIG_T::channels + e] =
                        data[((o * CONFIG_T::heads + h) * CONFIG_T::points + place) * CONFIG_T::channels + e];
                }
            }
        }
    }
}

// The largest of `count` values (outer, count, inner), at least `least` where the configuration has one: (outer, inner).
template <class data_T, class res_T, typename CONFIG_T>
void largest(data_T data[CONFIG_T::outer * CONFIG_T::count * CONFIG_T::inner],
             res_T res[CONFIG_T::outer * CONFIG_T::inner]) {
    #pragma HLS PIPELINE
    for (unsigned i = 0; i < CONFIG_T::outer; i++) {
        #pragma HLS UNROLL
        for (unsigned k = 0; k < CONFIG_T::inner; k++) {
            #pragma HLS UNROLL
            typename CONFIG_T::top_t top = data[i * CONFIG_T::count * CONFIG_T::inner + k];
            for (unsigned j = 1; j < CONFIG_T::count; j++) {
                #pragma HLS UNROLL
                const typename CONFIG_T::top_t value = data[(i * CONFIG_T::count + j) * CONFIG_T::inner + k];
                if (value > top)
                    top = value;
            }
            if (CONFIG_T::has_least) {
                const typename CONFIG_T::top_t least = CONFIG_T::least;
                if (least > top)
                    top = least;
            }
            res[i * CONFIG_T::inner + k] = top;
        }
    }
}

// Values of pairs (P, H), each pair once, at both of its places: (H, N, N); 0 on the diagonal where P leaves that out.
template <class data_T, class res_T, typename CONFIG_T>
void symmetric_fill(data_T data[CONFIG_T::pairs * CONFIG_T::heads],
                    res_T res[CONFIG_T::heads * CONFIG_T::points * CONFIG_T::points]) {
    #pragma HLS PIPELINE
    for (unsigned h = 0; h < CONFIG_T::heads; h++) {
        #pragma HLS UNROLL
        for (unsigned i = 0; i < CONFIG_T::points; i++) {
            #pragma HLS UNROLL
            for (unsigned j = 0; j < CONFIG_T::points; j++) {
                #pragma HLS UNROLL
                const unsigned row = i > j ? i : j, column = i > j ? j : i;
                const unsigned pair = (CONFIG_T::self_pairs ? row * (row + 1) : row * (row - 1)) / 2 + column;
                res_T &place = res[(h * CONFIG_T::points + i) * CONFIG_T::points + j];
                if (i == j && !CONFIG_T::self_pairs)
                    place = 0;
                else
                    place = data[pair * CONFIG_T::heads + h];
            }
        }
    }
}

// Values of an input at other places; 0 where there is no source.
template <class data_T, class res_T, typename CONFIG_T>
void moved(data_T data[CONFIG_T::inputs], res_T res[CONFIG_T::outputs]) {
    #pragma HLS PIPELINE
    for (unsigned i = 0; i < CONFIG_T::outputs; i++) {
        #pragma HLS UNROLL
        const int place = CONFIG_T::places(i);
        if (place < 0)
            res[i] = 0;
        else
            res[i] = data[place];
    }
}

// Where the values of an output stand in an input that is repeated along some axes.
template <typename CONFIG_T> unsigned repeated_at(unsigned place, unsigned (*stride)(unsigned)) {
    unsigned found = 0;
    for (unsigned axis = CONFIG_T::rank; axis > 0; axis--) {
        #pragma HLS UNROLL
        found += (place % CONFIG_T::shape(axis - 1)) * stride(axis - 1);
        place /= CONFIG_T::shape(axis - 1);
    }
    return found;
}

// first - second, each repeated along axes of length 1.
template <class first_T, class second_T, class res_T, typename CONFIG_T>
void subtract_repeated(first_T first[CONFIG_T::n_first], second_T second[CONFIG_T::n_second],
                       res_T res[CONFIG_T::n_out]) {
    #pragma HLS PIPELINE
    for (unsigned place = 0; place < CONFIG_T::n_out; place++) {
        #pragma HLS UNROLL
        res[place] = first[repeated_at<CONFIG_T>(place, CONFIG_T::first)] -
                     second[repeated_at<CONFIG_T>(place, CONFIG_T::second)];
    }
}

// first + second, each repeated along axes of length 1.
template <class first_T, class second_T, class res_T, typename CONFIG_T>
void add_repeated(first_T first[CONFIG_T::n_first], second_T second[CONFIG_T::n_second], res_T res[CONFIG_T::n_out]) {
    #pragma HLS PIPELINE
    for (unsigned place = 0; place < CONFIG_T::n_out; place++) {
        #pragma HLS UNROLL
        res[place] = first[repeated_at<CONFIG_T>(place, CONFIG_T::first)] +
                     second[repeated_at<CONFIG_T>(place, CONFIG_T::second)];
    }
}

// first * second, each repeated along axes of length 1.
template <class first_T, class second_T, class res_T, typename CONFIG_T>
void multiply_repeated(first_T first[CONFIG_T::n_first], second_T second[CONFIG_T::n_second],
                       res_T res[CONFIG_T::n_out]) {
    #pragma HLS PIPELINE
    for (unsigned place = 0; place < CONFIG_T::n_out; place++) {
        #pragma HLS UNROLL
        res[place] = first[repeated_at<CONFIG_T>(place, CONFIG_T::first)] *
                     second[repeated_at<CONFIG_T>(place, CONFIG_T::second)];
    }
}

// The sum of all values that belong to a place of the output; scaled_t is sum_t with its point elsewhere.
template <class data_T, class res_T, typename CONFIG_T>
void sum_over(data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_out]) {
    #pragma HLS PIPELINE
    typename CONFIG_T::sum_t sums[CONFIG_T::n_out];
    #pragma HLS ARRAY_PARTITION variable=sums complete
    for (unsigned place = 0; place < CONFIG_T::n_out; place++) {
        #pragma HLS UNROLL
        sums[place] = 0;
    }
    for (unsigned i = 0; i < CONFIG_T::n_in; i++) {
        #pragma HLS UNROLL
        sums[CONFIG_T::place(i)] += data[i];
    }
    for (unsigned place = 0; place < CONFIG_T::n_out; place++) {
        #pragma HLS UNROLL
        typename CONFIG_T::scaled_t scaled;
        scaled(scaled.width - 1, 0) = sums[place](scaled.width - 1, 0);
        res[place] = scaled;
    }
}

// Each value times a number, plus a number.
template <class data_T, class res_T, typename CONFIG_T> void rescaled(data_T data[CONFIG_T::n], res_T res[CONFIG_T::n]) {
    #pragma HLS PIPELINE
    const typename CONFIG_T::factor_t factor = CONFIG_T::factor;
    const typename CONFIG_T::offset_t offset = CONFIG_T::offset;
    for (unsigned i = 0; i < CONFIG_T::n; i++) {
        #pragma HLS UNROLL
        res[i] = data[i] * factor + offset;
    }
}

// One array (outer, size) as columns `at` to `at` + size - 1 of another, (outer, CONFIG_T::width).
template <class data_T, class res_T, typename CONFIG_T>
void columns_of(data_T *data, res_T *res, const unsigned size, const unsigned at) {
    for (unsigned row = 0; row < CONFIG_T::outer; row++) {
        #pragma HLS UNROLL
        for (unsigned i = 0; i < size; i++) {
            #pragma HLS UNROLL
            res[row * CONFIG_T::width + at + i] = data[row * size + i];
        }
    }
}

// Two to six arrays side by side: (outer, size) each -> (outer, sum of all sizes).
template <class first_T, class second_T, class res_T, typename CONFIG_T>
void side_by_side(first_T first[CONFIG_T::outer * CONFIG_T::n_first],
                  second_T second[CONFIG_T::outer * CONFIG_T::n_second],
                  res_T res[CONFIG_T::outer * CONFIG_T::width]) {
    #pragma HLS PIPELINE
    columns_of<first_T, res_T, CONFIG_T>(first, res, CONFIG_T::n_first, 0);
    columns_of<second_T, res_T, CONFIG_T>(second, res, CONFIG_T::n_second, CONFIG_T::n_first);
}

template <class first_T, class second_T, class third_T, class res_T, typename CONFIG_T>
void side_by_side(first_T first[CONFIG_T::outer * CONFIG_T::n_first],
                  second_T second[CONFIG_T::outer * CONFIG_T::n_second],
                  third_T third[CONFIG_T::outer * CONFIG_T::n_third], res_T res[CONFIG_T::outer * CONFIG_T::width]) {
    #pragma HLS PIPELINE
    columns_of<first_T, res_T, CONFIG_T>(first, res, CONFIG_T::n_first, 0);
    columns_of<second_T, res_T, CONFIG_T>(second, res, CONFIG_T::n_second, CONFIG_T::n_first);
    columns_of<third_T, res_T, CONFIG_T>(third, res, CONFIG_T::n_third, CONFIG_T::n_first + CONFIG_T::n_second);
}

template <class first_T, class second_T, class third_T, class fourth_T, class res_T, typename CONFIG_T>
void side_by_side(first_T first[CONFIG_T::outer * CONFIG_T::n_first],
                  second_T second[CONFIG_T::outer * CONFIG_T::n_second],
                  third_T third[CONFIG_T::outer * CONFIG_T::n_third],
                  fourth_T fourth[CONFIG_T::outer * CONFIG_T::n_fourth],
                  res_T res[CONFIG_T::outer * CONFIG_T::width]) {
    #pragma HLS PIPELINE
    columns_of<first_T, res_T, CONFIG_T>(first, res, CONFIG_T::n_first, 0);
    columns_of<second_T, res_T, CONFIG_T>(second, res, CONFIG_T::n_second, CONFIG_T::n_first);
    columns_of<third_T, res_T, CONFIG_T>(third, res, CONFIG_T::n_third, CONFIG_T::n_first + CONFIG_T::n_second);
    columns_of<fourth_T, res_T, CONFIG_T>(fourth, res,
                                         CONFIG_T::n_fourth, CONFIG_T::n_first + CONFIG_T::n_second + CONFIG_T::n_third);
}

template <class first_T, class second_T, class third_T, class fourth_T, class fifth_T, class res_T, typename CONFIG_T>
void side_by_side(first_T first[CONFIG_T::outer * CONFIG_T::n_first],
                  second_T second[CONFIG_T::outer * CONFIG_T::n_second],
                  third_T third[CONFIG_T::outer * CONFIG_T::n_third],
                  fourth_T fourth[CONFIG_T::outer * CONFIG_T::n_fourth],
                  fifth_T fifth[CONFIG_T::outer * CONFIG_T::n_fifth], res_T res[CONFIG_T::outer * CONFIG_T::width]) {
    #pragma HLS PIPELINE
    columns_of<first_T, res_T, CONFIG_T>(first, res, CONFIG_T::n_first, 0);
    columns_of<second_T, res_T, CONFIG_T>(second, res, CONFIG_T::n_second, CONFIG_T::n_first);
    columns_of<third_T, res_T, CONFIG_T>(third, res, CONFIG_T::n_third, CONFIG_T::n_first + CONFIG_T::n_second);
    columns_of<fourth_T, res_T, CONFIG_T>(fourth, res,
                                         CONFIG_T::n_fourth, CONFIG_T::n_first + CONFIG_T::n_second + CONFIG_T::n_third);
    columns_of<fifth_T, res_T, CONFIG_T>(fifth, res,
                                         CONFIG_T::n_fifth, CONFIG_T::n_first + CONFIG_T::n_second + CONFIG_T::n_third + CONFIG_T::n_fourth);
}

template <class first_T, class second_T, class third_T, class fourth_T, class fifth_T, class sixth_T, class res_T, typename CONFIG_T>
void side_by_side(first_T first[CONFIG_T::outer * CONFIG_T::n_first],
                  second_T second[CONFIG_T::outer * CONFIG_T::n_second],
                  third_T third[CONFIG_T::outer * CONFIG_T::n_third],
                  fourth_T fourth[CONFIG_T::outer * CONFIG_T::n_fourth],
                  fifth_T fifth[CONFIG_T::outer * CONFIG_T::n_fifth],
                  sixth_T sixth[CONFIG_T::outer * CONFIG_T::n_sixth], res_T res[CONFIG_T::outer * CONFIG_T::width]) {
    #pragma HLS PIPELINE
    columns_of<first_T, res_T, CONFIG_T>(first, res, CONFIG_T::n_first, 0);
    columns_of<second_T, res_T, CONFIG_T>(second, res, CONFIG_T::n_second, CONFIG_T::n_first);
    columns_of<third_T, res_T, CONFIG_T>(third, res, CONFIG_T::n_third, CONFIG_T::n_first + CONFIG_T::n_second);
    columns_of<fourth_T, res_T, CONFIG_T>(fourth, res,
                                         CONFIG_T::n_fourth, CONFIG_T::n_first + CONFIG_T::n_second + CONFIG_T::n_third);
    columns_of<fifth_T, res_T, CONFIG_T>(fifth, res,
                                         CONFIG_T::n_fifth, CONFIG_T::n_first + CONFIG_T::n_second + CONFIG_T::n_third + CONFIG_T::n_fourth);
    columns_of<sixth_T, res_T, CONFIG_T>(sixth, res,
                                         CONFIG_T::n_sixth, CONFIG_T::n_first + CONFIG_T::n_second + CONFIG_T::n_third + CONFIG_T::n_fourth + CONFIG_T::n_fifth);
}

// Keys in ascending order with their payload; keys are all different. Batcher's odd-even merge sort for any number
// (Knuth, The Art of Computer Programming, vol. 3, 5.2.2, algorithm M): O(n log^2 n) exchanges, none depends on another
// of its step.
template <class key_T, class payload_T, unsigned n> void batcher_sort(key_T keys[n], payload_T payload[n]) {
    static constexpr unsigned half = n <= 1 ? 0 : 1u << (ceillog2(n) - 1);
    for (unsigned p = half; p > 0; p >>= 1) {
        #pragma HLS UNROLL
        unsigned r = 0, d = p;
        for (unsigned q = half;; q >>= 1) {
            #pragma HLS UNROLL
            for (unsigned i = 0; i + d < n; i++) {
                #pragma HLS UNROLL
                if ((i & p) == r && keys[i] > keys[i + d]) {
                    const key_T key = keys[i];
                    const payload_T value = payload[i];
                    keys[i] = keys[i + d];
                    payload[i] = payload[i + d];
                    keys[i + d] = key;
                    payload[i + d] = value;
                }
            }
            if (q == p)
                break;
            d = q - p;
            r = p;
        }
    }
}

// Slots 0 to N - 1 by key, then by slot; those that are not real stand last, in their order.
template <class key_T, typename CONFIG_T>
void sorted_slots(const key_T keys[CONFIG_T::points], const bool real[CONFIG_T::points],
                  typename CONFIG_T::slot_t slots[CONFIG_T::points]) {
    static constexpr unsigned slot_bits = CONFIG_T::slot_bits;
    typedef ap_uint<1 + key_T::width + slot_bits> whole_t; // not real, key, slot: no two are equal
    whole_t wholes[CONFIG_T::points];
    #pragma HLS ARRAY_PARTITION variable=wholes complete
    for (unsigned i = 0; i < CONFIG_T::points; i++) {
        #pragma HLS UNROLL
        whole_t whole = real[i] ? whole_t(keys[i]) : whole_t(whole_t(1) << key_T::width);
        wholes[i] = (whole << slot_bits) | whole_t(i);
        slots[i] = i;
    }
    batcher_sort<whole_t, typename CONFIG_T::slot_t, CONFIG_T::points>(wholes, slots);
}

// A point on its way down a ball tree.
template <unsigned axes, unsigned bits, unsigned slot_bits> struct tree_point {
    ap_int<bits> place[axes];
    bool real;
    ap_uint<slot_bits> slot;
};

// Largest less smallest real place along an axis; the same below 0 where no point is real.
template <unsigned axes, unsigned bits, unsigned slot_bits, unsigned size>
ap_int<bits + 1> tree_width(const tree_point<axes, bits, slot_bits> points[size], const unsigned axis) {
    ap_int<bits> high = ap_int<bits>(1) << (bits - 1); // the least
    ap_int<bits> low = ~high;
    for (unsigned i = 0; i < size; i++) {
        #pragma HLS UNROLL
        const ap_int<bits> place = points[i].place[axis];
        high = points[i].real && place > high ? place : high;
        low = points[i].real && place < low ? place : low;
    }
    return ap_int<bits + 1>(high) - ap_int<bits + 1>(low);
}

// Nodes of `size` points, sorted along their widest axis and cut in the middle, down to `leaf`.
template <unsigned axes, unsigned bits, unsigned slot_bits, unsigned size, unsigned leaf, bool more = (size > leaf)>
struct tree_node {
    static void cut(tree_point<axes, bits, slot_bits> points[size]) {
        typedef tree_point<axes, bits, slot_bits> point_t;
        typedef ap_uint<1 + bits + slot_bits> key_t; // not real, place, slot: no two are equal
        unsigned axis = 0;
        ap_int<bits + 1> widest = tree_width<axes, bits, slot_bits, size>(points, 0);
        for (unsigned a = 1; a < axes; a++) {
            #pragma HLS UNROLL
            const ap_int<bits + 1> width = tree_width<axes, bits, slot_bits, size>(points, a);
            if (width > widest) {
                widest = width;
                axis = a;
            }
        }
        key_t keys[size];
        #pragma HLS ARRAY_PARTITION variable=keys complete
        for (unsigned i = 0; i < size; i++) {
            #pragma HLS UNROLL
            const ap_uint<bits> shown = ap_uint<bits>(points[i].place[axis]) ^ (ap_uint<bits>(1) << (bits - 1)); // in order
            const key_t key = points[i].real ? key_t(shown) : key_t(key_t(1) << bits);
            keys[i] = (key << slot_bits) | key_t(points[i].slot);
        }
        batcher_sort<key_t, point_t, size>(keys, points);
        point_t half[2][size / 2];
        #pragma HLS ARRAY_PARTITION variable=half complete dim=0
        for (unsigned side = 0; side < 2; side++) {
            #pragma HLS UNROLL
            for (unsigned i = 0; i < size / 2; i++) {
                #pragma HLS UNROLL
                half[side][i] = points[side * (size / 2) + i];
            }
            tree_node<axes, bits, slot_bits, size / 2, leaf>::cut(half[side]);
            for (unsigned i = 0; i < size / 2; i++) {
                #pragma HLS UNROLL
                points[side * (size / 2) + i] = half[side][i];
            }
        }
    }
};

template <unsigned axes, unsigned bits, unsigned slot_bits, unsigned size, unsigned leaf>
struct tree_node<axes, bits, slot_bits, size, leaf, false> {
    static void cut(tree_point<axes, bits, slot_bits> points[size]) {}
};

// The order of the balls of a tree: coordinates (N, C) and which points are real (N) -> slots (N). Only the order of
// coordinates and of their differences counts, so that their bits are taken as whole numbers; `diagonal`: x + y, y - x.
template <class coords_T, class real_T, class res_T, typename CONFIG_T>
void sorted_tree(coords_T coords[CONFIG_T::points * CONFIG_T::coords], real_T given[CONFIG_T::points],
                 res_T res[CONFIG_T::points]) {
    #pragma HLS PIPELINE
    static constexpr unsigned bits = coords_T::width + 2; // a sign where there is none, and a sum
    typedef tree_point<CONFIG_T::coords, bits, CONFIG_T::slot_bits> point_t;
    point_t points[CONFIG_T::points];
    #pragma HLS ARRAY_PARTITION variable=points complete
    for (unsigned i = 0; i < CONFIG_T::points; i++) {
        #pragma HLS UNROLL
        for (unsigned a = 0; a < CONFIG_T::coords; a++) {
            #pragma HLS UNROLL
            const coords_T value = coords[i * CONFIG_T::coords + a];
            const ap_uint<coords_T::width> whole = value.range(coords_T::width - 1, 0);
            points[i].place[a] = CONFIG_T::is_signed ? ap_int<bits>(ap_int<coords_T::width>(whole)) : ap_int<bits>(whole);
        }
        if (CONFIG_T::diagonal) {
            const ap_int<bits> x = points[i].place[0], y = points[i].place[CONFIG_T::coords - 1];
            points[i].place[0] = x + y;
            points[i].place[CONFIG_T::coords - 1] = y - x;
        }
        points[i].real = given[i] > real_T(0);
        points[i].slot = i;
    }
    tree_node<CONFIG_T::coords, bits, CONFIG_T::slot_bits, CONFIG_T::points, CONFIG_T::leaf>::cut(points);
    for (unsigned i = 0; i < CONFIG_T::points; i++) {
        #pragma HLS UNROLL
        res[i] = points[i].slot;
    }
}

// Regions, then a hash, then the slot: coordinates (N, C) and which points are real (N) -> orders (O, N). Only the order
// of coordinates counts, so that their bits are taken as whole numbers.
template <class coords_T, class real_T, class res_T, typename CONFIG_T>
void sorted_order(coords_T coords[CONFIG_T::points * CONFIG_T::coords], real_T given[CONFIG_T::points],
                  res_T res[CONFIG_T::orders * CONFIG_T::points]) {
    #pragma HLS PIPELINE
    typedef typename CONFIG_T::slot_t slot_t;
    typedef ap_int<coords_T::width + 1> whole_t;
    typedef ap_uint<coords_T::width + 1> shown_t;
    typedef ap_int<coords_T::width + 1 + CONFIG_T::hash_bits> hash_t;
    static constexpr unsigned key_bits = hash_t::width + CONFIG_T::axes * CONFIG_T::slot_bits;
    typedef ap_uint<key_bits> key_t;
    bool real[CONFIG_T::points];
    whole_t whole[CONFIG_T::axes][CONFIG_T::points];
    slot_t rank[CONFIG_T::axes][CONFIG_T::points];
    #pragma HLS ARRAY_PARTITION variable=real complete
    #pragma HLS ARRAY_PARTITION variable=whole complete dim=0
    #pragma HLS ARRAY_PARTITION variable=rank complete dim=0
    const whole_t lowest = whole_t(1) << (coords_T::width - 1);
    unsigned count = 0;
    for (unsigned i = 0; i < CONFIG_T::points; i++) {
        #pragma HLS UNROLL
        real[i] = given[i] > real_T(0);
        count += real[i] ? 1 : 0;
    }
    for (unsigned a = 0; a < CONFIG_T::axes; a++) {
        #pragma HLS UNROLL
        shown_t shown[CONFIG_T::points];
        slot_t sorted[CONFIG_T::points];
        #pragma HLS ARRAY_PARTITION variable=shown complete
        #pragma HLS ARRAY_PARTITION variable=sorted complete
        for (unsigned i = 0; i < CONFIG_T::points; i++) {
            #pragma HLS UNROLL
            const coords_T value = coords[i * CONFIG_T::coords + a];
            const ap_uint<coords_T::width> bits = value.range(coords_T::width - 1, 0);
            whole[a][i] = CONFIG_T::is_signed ? whole_t(ap_int<coords_T::width>(bits)) : whole_t(bits);
            shown[i] = shown_t(whole[a][i] + lowest);
        }
        sorted_slots<shown_t, CONFIG_T>(shown, real, sorted);
        for (unsigned place = 0; place < CONFIG_T::points; place++) {
            #pragma HLS UNROLL
            rank[a][sorted[place]] = place;
        }
    }
OrderLoop:
    for (unsigned o = 0; o < CONFIG_T::orders; o++) {
        #pragma HLS UNROLL
        key_t keys[CONFIG_T::points];
        slot_t sorted[CONFIG_T::points];
        #pragma HLS ARRAY_PARTITION variable=keys complete
        #pragma HLS ARRAY_PARTITION variable=sorted complete
        for (unsigned i = 0; i < CONFIG_T::points; i++) {
            #pragma HLS UNROLL
            key_t key = 0;
            hash_t hash = 0;
            for (unsigned a = CONFIG_T::axes; a > 0; a--) {
                #pragma HLS UNROLL
                const unsigned length = CONFIG_T::length(o, a - 1, count);
                unsigned region = 0;
                for (unsigned run = 1; run <= CONFIG_T::most_runs; run++) {
                    #pragma HLS UNROLL
                    region += rank[a - 1][i].to_uint() >= run * length ? 1 : 0;
                }
                key = (key << CONFIG_T::slot_bits) | key_t(region);
                hash += whole[a - 1][i] * ap_int<CONFIG_T::hash_bits>(CONFIG_T::direction(o, a - 1));
            }
            const ap_uint<hash_t::width> shown = ap_uint<hash_t::width>(hash) ^
                                                 (ap_uint<hash_t::width>(1) << (hash_t::width - 1)); // in order
            keys[i] = (key << hash_t::width) | key_t(shown);
        }
        sorted_slots<key_t, CONFIG_T>(keys, real, sorted);
        for (unsigned place = 0; place < CONFIG_T::points; place++) {
            #pragma HLS UNROLL
            res[o * CONFIG_T::points + place] = sorted[place];
        }
    }
}

} // namespace nnet

#endif
