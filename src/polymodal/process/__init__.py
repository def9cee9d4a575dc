"""The catalogue of processors. Nothing is imported until it is named."""

from polymodal.core.registry import Catalogue, Entry

PROCESSORS = Catalogue(
    "processor",
    "polymodal.process.base:Processor",
    {
        "image": Entry("polymodal.process.image:ImageProcessor", "Pictures to upright uint8 squares", "folklore"),
        "audio": Entry("polymodal.process.audio:AudioProcessor", "Sounds to mono int16 of one rate", "folklore"),
        "video": Entry("polymodal.process.video:VideoProcessor", "Films to a few square frames each", "folklore"),
        "volume": Entry(
            "polymodal.process.volume:VolumeProcessor", "Scans to equal voxels, under a window", "folklore"
        ),
        "points": Entry("polymodal.process.points:PointsProcessor", "Clouds to so many points in metres", "folklore"),
        "series": Entry("polymodal.process.series:SeriesProcessor", "Measurements over time, gaps marked", "folklore"),
        "text": Entry(
            "polymodal.process.text:TextProcessor", "Characters or byte-pair subwords, learned", "Sennrich 2016"
        ),
        "table": Entry("polymodal.process.table:TableProcessor", "Numbers, dates, truths and categories", "folklore"),
        "entity": Entry("polymodal.process.entity:EntityProcessor", "Who or what rows share, as users", "folklore"),
        "vector": Entry("polymodal.process.vector:VectorProcessor", "Standardised vectors of fixed width", "folklore"),
        "links": Entry("polymodal.process.links:LinksProcessor", "A row's neighbours and their features", "folklore"),
        "several": Entry(
            "polymodal.process.several:Several", "Several processors of the same cells, side by side", "folklore"
        ),
        "pretrained_text": Entry(
            "polymodal.process.pretrained:PretrainedTextProcessor", "A checkpoint's tokenizer", "Wolf et al. 2020", "hf"
        ),
        "pretrained_vision": Entry(
            "polymodal.process.pretrained:PretrainedVisionProcessor", "A checkpoint's framing", "Wolf et al. 2020", "hf"
        ),
        "pretrained_video": Entry(
            "polymodal.process.pretrained:PretrainedVideoProcessor",
            "Frames, framed by a checkpoint",
            "Wolf et al. 2020",
            "hf",
        ),
        "pretrained_volume": Entry(
            "polymodal.process.pretrained:PretrainedVolumeProcessor",
            "Slices of scans, framed by a checkpoint",
            "Wolf et al. 2020",
            "hf",
        ),
        "pretrained_audio": Entry(
            "polymodal.process.pretrained:PretrainedAudioProcessor", "A checkpoint's features", "Wolf et al. 2020", "hf"
        ),
        "pretrained_series": Entry(
            "polymodal.process.series:PretrainedSeriesProcessor", "Measurements for a checkpoint", "Ansari et al. 2024"
        ),
    },
)
